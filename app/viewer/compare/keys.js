// What the keyboard does, and the list of it.

const KEYS = [
  ["+ −", "zoom in, out"],
  ["0", "fit the photo"],
  ["← ↑ ↓ →", "move around when zoomed in"],
  ["double click", "zoom in there (Shift: out)"],
  ["click", "hold the reading at that pixel; again or Esc to let go"],
  ["Space, held", "show the bare photo"],
  ["H", "hide or show the overlay"],
  ["[ ]", "opacity"],
  ["1 … 7", "layer"],
  ["G O", "all side by side, one large"],
  ["S B", "swipe, blink between two; again: back"],
  ["← →", "one large: the one before, the next"],
  ["P", "colour-blind palette"],
  ["A", "all classes"],
  ["I", "readings and classes at the side"],
  ["F", "full screen"],
  ["?", "this list"],
];

/** The list of keys as a dialog. */
function helpDialog() {
  const dialog = node(
    "dialog",
    { class: "help", "aria-label": "Keys", onclick: (event) => event.target === dialog && dialog.close() },
    node(
      "div",
      { class: "head" },
      node("span", { class: "title" }, "Keys"),
      iconButton("close", "Close", () => dialog.close()),
    ),
    node("dl", {}, ...KEYS.flatMap(([key, what]) => [node("dt", {}, key), node("dd", {}, what)])),
  );
  return dialog;
}

/** Do what a key asks for, unless it is meant for a field or the browser. */
function onKey(viewer, event) {
  if (isEditable(event) || event.ctrlKey || event.metaKey || event.altKey || viewer.help.open || !viewer.bundle) return;
  const { settings: s, view } = viewer;
  const onButton = event.composedPath()[0] instanceof HTMLButtonElement;
  const step = 0.12 / s.zoom;
  // Actions that return false leave the key to the browser.
  const move = (dx, dy) => {
    if (s.zoom <= 1 && dx && viewer.mode() === "focus") return viewer.focusNext(dx);
    if (s.zoom <= 1) return false;
    s.centre = [s.centre[0] + dx * step, s.centre[1] + dy * step];
    viewer.draw();
  };
  const actions = {
    "+": () => view.zoomBy(1.5),
    "=": () => view.zoomBy(1.5),
    "-": () => view.zoomBy(1 / 1.5),
    0: () => view.fit(),
    ArrowLeft: () => move(-1, 0),
    ArrowRight: () => move(1, 0),
    ArrowUp: () => move(0, -1),
    ArrowDown: () => move(0, 1),
    " ": () => !onButton && viewer.peekAt(true),
    h: () => viewer.hide(!viewer.off),
    "[": () => viewer.set({ opacity: clamp(s.opacity - 0.1, 0, 1) }),
    "]": () => viewer.set({ opacity: clamp(s.opacity + 0.1, 0, 1) }),
    g: () => viewer.set({ mode: "grid" }),
    o: () => viewer.toggleMode("focus"),
    s: () => viewer.toggleMode("swipe"),
    b: () => viewer.toggleMode("blink"),
    i: () => viewer.set({ rail: !s.rail }),
    p: () => viewer.set({ safe: !s.safe }),
    a: () => viewer.legend.show(() => true),
    f: () => viewer.fullScreen(),
    "?": () => viewer.help.showModal(),
    Escape: () => viewer.pinned !== null && viewer.letGo(),
  };
  LAYERS.forEach(([layer], i) => (actions[i + 1] = () => viewer.offers(layer) && viewer.set({ layer })));
  const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action || action() === false) return;
  event.preventDefault();
  event.stopPropagation();
}
