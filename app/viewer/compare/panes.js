const BLINK_SECONDS = 0.7; // per picture; far below the three flashes a second that harm some people

/** The panes in their grid: one for each subject, or a single one that shows two of them by swipe or blink. */
class Panes {
  constructor(viewer) {
    this.viewer = viewer;
    this.list = [];
    this.blinked = "left"; // the side that blinking shows
    this.paused = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.grid = node("div", { class: "grid" });
  }

  /** Build what the arrangement needs; panes that stay keep their canvas. */
  build() {
    const { viewer } = this;
    const { subjects, bundle } = viewer;
    const mode = viewer.mode();
    const one = mode === "swipe" || mode === "blink";
    const focus = viewer.focused();
    const all = subjects.map((subject) => subject.key);
    const wanted = one ? [mode] : mode === "focus" ? [focus, ...all.filter((key) => key !== focus)] : all;
    const empty = one ? [] : [...bundle.waiting.map((w) => ({ ...w, waiting: true })), ...bundle.failed];
    const before = new Map(this.list.map((pane) => [pane.key, pane]));
    this.list = wanted.map((key) => {
      const pane = before.get(key) ?? this.pane(key);
      pane.root.classList.toggle("large", mode === "focus" && key === focus);
      pane.root.classList.toggle("small", mode === "focus" && key !== focus);
      if (one) this.describeTwo(pane);
      else this.describe(pane);
      return pane;
    });
    const placeholders = empty.map((method) => this.placeholder(method, mode === "focus"));
    const children = [...this.list.map((pane) => pane.root), ...placeholders];
    // Panes that stay are left in place: moving a canvas in the document would flicker.
    [...this.grid.children].forEach((child) => children.includes(child) || child.remove());
    children.forEach(
      (child, i) => this.grid.children[i] === child || this.grid.insertBefore(child, this.grid.children[i] ?? null),
    );
    this.stop();
    if (mode === "blink" && !this.paused) this.blinking = setInterval(() => this.blink(), 1000 * BLINK_SECONDS);
    layOut(viewer);
  }

  /** Show the other of the two. */
  blink() {
    this.blinked = this.blinked === "left" ? "right" : "left";
    this.viewer.drawNow();
  }

  /** Stop or go on blinking. */
  pause() {
    this.paused = !this.paused;
    this.build();
  }

  stop() {
    clearInterval(this.blinking);
  }

  pane(key) {
    const canvas = node("canvas", { role: "img" });
    const badge = node("div", { class: "badge", hidden: "" });
    const pane = { key, canvas, badge, caption: node("figcaption"), frame: node("div", { class: "canvas" }, canvas, badge) };
    if (key === "swipe") {
      pane.handle = this.handle();
      pane.frame.append(pane.handle);
    }
    pane.root = node("figure", { class: "pane", "data-key": key }, pane.caption, pane.frame);
    listen(this.viewer, pane);
    return pane;
  }

  /** The line between the two sides of a swipe, for keys; pointers may drag anywhere. */
  handle() {
    const { viewer } = this;
    const onkeydown = (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
      if (!step) return;
      viewer.set({ split: clamp(viewer.settings.split + step, 0, 1) });
      event.preventDefault();
      event.stopPropagation();
    };
    return node("div", {
      class: "handle",
      role: "slider",
      tabindex: "0",
      "aria-label": "Swipe position",
      "aria-valuemin": "0",
      "aria-valuemax": "100",
      onkeydown,
    });
  }

  /** What stands where a method is still at work, or has failed. */
  placeholder(method, small) {
    return node(
      "figure",
      { class: `pane ${method.waiting ? "waiting" : "failed"}${small ? " small" : ""}` },
      node(
        "figcaption",
        {},
        dot(method.colour),
        node("span", { class: "title" }, method.title),
        node("span", { class: "note" }, method.note),
      ),
      node(
        "div",
        { class: "canvas", role: "status" },
        node("span", {}, method.waiting ? "Segmenting the photo …" : method.reason),
      ),
    );
  }

  /** Write a pane's caption and text alternative. */
  describe(pane) {
    const { viewer } = this;
    const subject = viewer.find(pane.key);
    const { source } = subject;
    const figures = [];
    if (subject.kind === "method") {
      if (source.meanIou != null)
        figures.push([
          `IoU ${(100 * source.meanIou).toFixed(1)}`,
          "Mean IoU of this image over the classes in it, not the data set's mIoU",
        ]);
      if (source.meanEntropy != null)
        figures.push([`entropy ${source.meanEntropy.toFixed(2)}`, "Mean entropy: 0 certain, 1 undecided"]);
    }
    const large = pane.root.classList.contains("large");
    pane.caption.replaceChildren(
      dot(subject.colour),
      node(
        "button",
        {
          type: "button",
          class: "title",
          title: large ? "Show all (G)" : [`Show ${subject.title} large`, source?.idea].filter(Boolean).join(": "),
          onclick: () => viewer.set(large ? { mode: "grid" } : { mode: "focus", focus: subject.key }),
        },
        subject.title,
      ),
      ...(viewer.options.cards && subject.kind === "method" ? [this.cardLink(subject)] : []),
      node("span", { class: "note", title: subject.note ?? "" }, node("span", {}, subject.note ?? "")),
      ...figures.map(([text, title]) => node("span", { class: "figure", title }, text)),
      iconButton("download", `Save ${subject.title} as PNG`, () => saveOne(viewer, subject)),
    );
    const largest = (source?.shares ?? [])
      .map((share, i) => [share, viewer.bundle.classes[i].name])
      .sort((a, b) => b[0] - a[0])
      .slice(0, 4)
      .filter(([share]) => share > 0.005);
    const parts = largest.map(([share, name]) => `${name} ${percent(share)}`);
    pane.canvas.setAttribute("aria-label", [subject.title, ...parts].join(", "));
  }

  /** The way to a method's card; in a tab of its own, because an own photo would be lost with this page. */
  cardLink({ key, title, source }) {
    return node(
      "a",
      {
        class: "card",
        href: this.viewer.options.cards + encodeURIComponent(key),
        target: "_blank",
        title: `${source.idea ?? ""} More on the card.`.trim(),
        "aria-label": `Card of ${title}`,
      },
      "i",
    );
  }

  /** Caption of the pane that shows two subjects: which, with which layer, on either side. */
  describeTwo(pane) {
    const swipe = pane.key === "swipe";
    const play = () =>
      iconButton(this.paused ? "play" : "pause", this.paused ? "Go on blinking" : "Pause", () => this.pause());
    const middle = swipe ? node("span", { class: "note" }, "drag the line") : play();
    pane.caption.replaceChildren(this.chooser("left", "Left"), middle, this.chooser("right", "Right"));
    pane.canvas.setAttribute("aria-label", swipe ? "Two panes with a movable line between them" : "Two panes in turn");
  }

  chooser(side, where) {
    const { viewer } = this;
    const select = (label, value, choices, onchange) => {
      const made = node(
        "select",
        { "aria-label": label, onchange: () => onchange(made.value) },
        ...choices.map(([key, title]) => node("option", { value: key, ...(key === value && { selected: "" }) }, title)),
      );
      return made;
    };
    const subjects = viewer.subjects.map((subject) => [subject.key, subject.title]);
    const layers = [["", "same layer"], ...LAYERS.filter(([layer]) => viewer.offers(layer))];
    const layer = `${side}Layer`;
    return node(
      "div",
      { class: "side" },
      select(`${where} side`, viewer.side(side), subjects, (key) => viewer.set({ [side]: key })),
      select(`${where} layer`, viewer.settings[layer] ?? "", layers, (key) => viewer.set({ [layer]: key || null })),
    );
  }
}
