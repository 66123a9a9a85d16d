// The bar above the panes: layers, arrangements, opacity, zoom and the rest.

const LAYERS = [
  ["classes", "Classes", "What each method sees"],
  ["entropy", "Entropy", "Where each method is unsure"],
  ["confidence", "Confidence", "How probable each method holds the class that it names"],
  ["error", "Errors", "Where each method is wrong, against the ground truth"],
  ["disagreement", "Disagreement", "Where the methods differ from each other"],
  ["photo", "Photo", "The photo alone"],
  ["translated", "Translated", "The photo as the method's generator gives it the target's look"],
];
const MODES = [
  ["grid", "grid", "All side by side (G)"],
  ["focus", "focus", "One large, the others small (O)"],
  ["swipe", "swipe", "Swipe between two (S)"],
  ["blink", "blink", "Blink between two (B)"],
];

class Toolbar {
  constructor(viewer) {
    this.viewer = viewer;
    this.layers = LAYERS.map(([layer, label]) =>
      node(
        "button",
        { type: "button", class: "segment", "data-layer": layer, onclick: () => viewer.set({ layer }) },
        label,
      ),
    );
    this.modes = MODES.map(([mode, icon, title]) => {
      const button = iconButton(icon, title, () => viewer.set({ mode }));
      button.dataset.mode = mode;
      return button;
    });
    const eye = iconButton("eye", "Hold to see the bare photo (Space)", null);
    hold(eye, (held) => viewer.peekAt(held));
    this.opacity = slider("Opacity", viewer.settings.opacity, (opacity) => viewer.set({ opacity }));
    this.safe = iconButton("palette", "Colour-blind palette (P)", () => viewer.set({ safe: !viewer.settings.safe }));
    this.rail = iconButton("rail", "Readings and classes (I)", () => viewer.set({ rail: !viewer.settings.rail }));
    this.rail.classList.add("beside");
    this.zoom = node("output", { class: "zoom", title: "Zoom" }, "1×");
    const more = iconButton("more", "More controls", () =>
      more.setAttribute("aria-expanded", String(this.root.classList.toggle("open"))),
    );
    more.classList.add("more");
    more.setAttribute("aria-expanded", "false");
    const { view } = viewer;
    this.root = node(
      "div",
      { class: "bar", role: "toolbar", "aria-label": "Viewer" },
      node("div", { class: "segments", role: "group", "aria-label": "Layer" }, ...this.layers),
      node(
        "div",
        { class: "modes" },
        node("div", { class: "segments", role: "group", "aria-label": "Arrangement" }, ...this.modes),
        eye,
        more,
      ),
      node(
        "div",
        { class: "extras" },
        this.opacity.root,
        node(
          "div",
          { class: "cluster" },
          iconButton("minus", "Zoom out (−)", () => view.zoomBy(1 / 1.5)),
          this.zoom,
          iconButton("plus", "Zoom in (+)", () => view.zoomBy(1.5)),
          iconButton("fit", "Fit (0)", () => view.fit()),
        ),
        node(
          "div",
          { class: "cluster" },
          this.safe,
          iconButton("link", "Copy the link to this view", () => viewer.address.copy()),
          iconButton("download", "Save the comparison as one PNG", () => saveAll(viewer)),
          this.rail,
          iconButton("screen", "Full screen (F)", () => viewer.fullScreen()),
          iconButton("help", "Keys (?)", () => viewer.help.showModal()),
        ),
      ),
    );
  }

  /** Show the settings, and disable layers in which there is nothing to see. */
  refresh() {
    const { viewer } = this;
    const { settings: s } = viewer;
    this.layers.forEach((button, i) => {
      const [layer, , title] = LAYERS[i];
      button.setAttribute("aria-pressed", String(layer === s.layer));
      button.disabled = !viewer.offers(layer);
      button.hidden = layer === "translated" && button.disabled; // few checkpoints have it
      const missing = { error: "Errors need a ground truth", disagreement: "Disagreement needs two methods" }[layer];
      button.title = button.disabled ? missing : `${title} (${i + 1})`;
    });
    for (const button of this.modes) button.setAttribute("aria-pressed", String(button.dataset.mode === viewer.mode()));
    this.opacity.show(s.opacity, percent(s.opacity));
    this.rail.setAttribute("aria-pressed", String(s.rail));
    this.safe.setAttribute("aria-pressed", String(s.safe));
  }

  showZoom(zoom) {
    this.zoom.textContent = `${zoom < 9.95 ? Number(zoom.toFixed(1)) : Math.round(zoom)}×`;
  }
}
