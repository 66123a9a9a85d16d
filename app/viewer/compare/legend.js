/** The classes below the panes: each shown or hidden, pointed at, and with the share of the pixels that it has. */
class Legend {
  constructor(viewer) {
    this.viewer = viewer;
    this.hidden = new Set(); // values of the classes that are not painted
    this.emphasis = null; // value of the class that the legend points at
    this.list = node("div", { class: "legend", role: "group", "aria-label": "Classes" });
    const head = node(
      "div",
      { class: "head" },
      node("span", { class: "title" }, "Classes"),
      textButton("All", "Show every class (A)", () => this.show(() => true)),
      textButton("None", "Hide every class", () => this.show(() => false)),
    );
    this.certainty = slider(
      "Certainty",
      viewer.settings.certainty,
      (certainty) => viewer.set({ certainty }),
      "Paint only pixels whose class is at least this probable",
    );
    this.root = node("div", { class: "classes" }, head, this.list, this.certainty.root);
  }

  /** Build the rows for the bundle's classes. */
  build() {
    const { bundle, subjects, settings } = this.viewer;
    this.hidden = new Set(bundle.classes.flatMap((c, i) => (settings.hiddenNames.has(c.name) ? [i] : [])));
    const all = subjects.flatMap((subject) => (subject.source?.shares ? [subject.source.shares] : []));
    const rows = bundle.classes.map((c, i) => {
      const share = all.length ? all.reduce((sum, shares) => sum + shares[i], 0) / all.length : 0;
      const present = all.some((shares) => shares[i] > 0);
      const shown = share >= 0.0005 ? `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %` : "–";
      const toggle = node(
        "button",
        {
          type: "button",
          class: "toggle",
          title: `Hide or show ${c.name}; with Alt: this one alone`,
          onclick: (event) => (event.altKey ? this.solo(i) : this.toggle(i)),
          ondblclick: () => this.solo(i),
        },
        node("span", { class: "swatch" }),
        node("span", { class: "name" }, c.name),
        node("span", { class: "share", title: "Share of the pixels, mean over the panes" }, shown),
      );
      return node(
        "div",
        {
          class: present ? "entry" : "entry absent",
          "data-class": c.name,
          onpointerenter: () => this.emphasise(i),
          onpointerleave: () => this.emphasise(null),
        },
        toggle,
        textButton("only", `Show ${c.name} alone`, () => this.solo(i)),
      );
    });
    this.list.replaceChildren(...rows);
  }

  /** Show the settings. */
  refresh() {
    const { bundle, settings } = this.viewer;
    bundle.classes.forEach((c, i) => {
      const row = this.list.children[i];
      row.querySelector(".swatch").style.background = settings.safe ? c.safe : c.colour;
      row.querySelector(".toggle").setAttribute("aria-pressed", String(!this.hidden.has(i)));
    });
    this.certainty.show(settings.certainty, settings.certainty ? `≥ ${percent(settings.certainty)}` : "any");
    this.certainty.root.classList.toggle("idle", settings.layer !== "classes");
  }

  /** Mark the row of one class, by its value. */
  point(value) {
    [...this.list.children].forEach((row, i) => row.classList.toggle("pointed", i === value));
  }

  /** Show the classes whose values pass the test, and no others. */
  show(test) {
    const { bundle, settings } = this.viewer;
    this.hidden = new Set(bundle.classes.flatMap((c, i) => (test(i) ? [] : [i])));
    settings.hiddenNames = new Set([...this.hidden].map((i) => bundle.classes[i].name));
    this.viewer.refresh();
  }

  toggle(i) {
    this.show((j) => this.hidden.has(j) === (j === i));
  }

  /** Show one class alone; asked again, show all. */
  solo(i) {
    const alone = this.hidden.size === this.viewer.bundle.classes.length - 1 && !this.hidden.has(i);
    this.show((j) => alone || j === i);
  }

  emphasise(i) {
    if (this.emphasis === i) return;
    this.emphasis = i;
    this.viewer.painter.forget();
    this.viewer.draw();
  }
}
