/**
 * The compare viewer: one photo, its ground truth and any number of methods, side by side on canvas.
 *
 *   const viewer = mount(element, bundle, { key });   viewer.update(bundle);   viewer.read();   viewer.destroy();
 *
 * `bundle` is what app/content/panes.py packs. Class values travel as 8-bit PNG planes and are coloured here, so layer,
 * opacity, palette and classes change without asking anybody. Every pane shows the same view. No framework, no network.
 *
 * The files of this folder are joined to one script (app/viewer/__init__.py). `Viewer` has what they share: the settings, the bundle
 * with its subjects, and the pixel that is read.
 */

const OPACITY = 0.7; // of the overlay, until somebody changes it

/**
 * By key: the settings, so that a viewer that a page redraws comes back as it was left, and the request for which the address
 * was read. Between requests the address is an echo of the settings, at times an old one, as pages write it back as a whole.
 */
const remembered = new Map();

/**
 * Mount a viewer into `element` (an Element or ShadowRoot). `options.key` names what to remember; `options.request` counts how
 * often the page opened the viewer with a view of its own in the address; `read` takes such a view in place of mounting anew.
 */
export function mount(element, bundle, options = {}) {
  const viewer = new Viewer(element, options);
  viewer.update(bundle);
  return { update: (next) => viewer.update(next), read: () => viewer.address.read(), destroy: () => viewer.destroy() };
}

class Viewer {
  constructor(element, options) {
    this.options = options;
    const before = remembered.get(options.key);
    this.settings = before?.settings ?? {
      layer: "classes",
      mode: null, // the person's choice; until then the screen's width decides
      opacity: OPACITY,
      certainty: 0,
      safe: false,
      rail: true,
      hiddenNames: new Set(),
      focus: null,
      left: null,
      right: null,
      leftLayer: null, // null: the layer of all
      rightLayer: null,
      split: 0.5,
      zoom: 1,
      centre: [0.5, 0.5],
    };
    if (options.key) remembered.set(options.key, { settings: this.settings, request: options.request });
    this.address = new Address(this);
    const isEcho = before && before.request === options.request;
    if (!isEcho) this.address.read();
    this.subjects = [];
    this.pointer = null; // [x, y] of the image pixel under the pointer
    this.pinned = null; // of the one that is held
    this.over = null; // key of the pane under the pointer
    this.peek = false; // overlay hidden for as long as a key or button is held
    this.off = false; // overlay switched off
    this.frame = 0;
    this.turn = 0;
    this.abort = new AbortController();
    this.view = new View(this);
    this.painter = new Painter(this);
    this.panes = new Panes(this);
    this.toolbar = new Toolbar(this);
    this.legend = new Legend(this);
    this.readings = new Readings(this);
    this.help = helpDialog();
    this.build(element);
    this.listen();
  }

  build(element) {
    this.hint = node("div", { class: "hint", "aria-hidden": "true" });
    this.answer = node("p", { class: "answer", role: "status" });
    this.notice = node("div", { class: "notice", role: "status", hidden: "" });
    const stage = node("div", { class: "stage" }, this.panes.grid, this.hint);
    this.root = node(
      "div",
      { class: "viewer", tabindex: "0", "aria-label": "Comparison of segmentations; press ? for keys" },
      this.notice,
      this.answer,
      this.toolbar.root,
      node("div", { class: "body" }, stage, this.readings.root, this.legend.root),
      this.help,
    );
    element.append(this.root);
  }

  listen() {
    const { signal } = this.abort;
    const letPeekEnd = (event) => event.key === " " && this.peekAt(false);
    this.root.addEventListener("keydown", (event) => onKey(this, event), { signal });
    this.root.addEventListener("keyup", letPeekEnd, { signal });
    this.root.addEventListener("pointerenter", () => (this.inside = true), { signal });
    this.root.addEventListener("pointerleave", () => (this.inside = false), { signal });
    // Keys work as soon as the pointer is over the viewer; nobody should have to guess that it needs a click first.
    document.addEventListener(
      "keydown",
      (event) => {
        if (this.inside && !this.root.contains(event.composedPath()[0]) && !isEditable(event)) onKey(this, event);
      },
      { signal },
    );
    document.addEventListener("keyup", letPeekEnd, { signal });
    document.addEventListener("fullscreenchange", () => layOut(this), { signal });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.refresh(), { signal });
    window.addEventListener("resize", () => layOut(this), { signal });
    this.observer = new ResizeObserver(() => layOut(this));
    this.observer.observe(this.root);
  }

  destroy() {
    this.abort.abort();
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
    this.panes.stop();
    this.address.stop();
    this.root.remove();
  }

  // ---- data ----------------------------------------------------------------------------------------------------

  /** Show another state of the page. Zoom and settings stay; of the same photo the held pixel too. */
  async update(bundle) {
    const turn = ++this.turn;
    this.root.setAttribute("aria-busy", "true");
    const samePhoto = this.bundle?.photo.digest === bundle.photo.digest && this.bundle?.width === bundle.width;
    const photo = samePhoto ? this.photo : await picture(bundle.photo.image);
    const subjects = await subjectsOf(bundle, this.subjects);
    const differing = bundle.disagreement ? (await plane(bundle.disagreement)).data : null;
    if (turn !== this.turn) return; // a newer bundle overtook this one
    if (this.bundle && !samePhoto) this.pinned = this.pointer = null; // zoom stays, a pixel is another one
    Object.assign(this, { bundle, photo, subjects, differing });
    this.address.confirm();
    this.answer.textContent = bundle.answer ?? "";
    this.leaveLostLayers();
    this.legend.build();
    this.panes.build();
    this.refresh();
    this.root.removeAttribute("aria-busy");
    this.address.write(); // the page may have written its own part of the address and dropped this one
  }

  /** Turn from layers that this bundle cannot have; methods that are still at work may bring theirs. */
  leaveLostLayers() {
    const { settings: s, bundle } = this;
    for (const name of ["layer", "leftLayer", "rightLayer"]) {
      const lost =
        (s[name] === "error" && !bundle.truth) ||
        (["disagreement", "translated"].includes(s[name]) && !this.offers(s[name]) && !bundle.waiting.length);
      if (lost) s[name] = name === "layer" ? "classes" : null;
    }
  }

  find(key) {
    return this.subjects.find((subject) => subject.key === key);
  }

  /** Whether there is anything to show in a layer. */
  offers(layer) {
    if (layer === "translated") return this.subjects.some((subject) => subject.translated);
    return layer === "error" ? !!this.bundle.truth : layer === "disagreement" ? !!this.differing : true;
  }

  /** Why a method has nothing to show in a layer; null where it has. */
  absence(subject, layer) {
    if (subject?.kind !== "method" || subject[layer]) return null;
    if (layer === "translated") return "No translation: this checkpoint has no generator";
    if (layer === "entropy" || layer === "confidence") return `No ${layer}: of these predictions only the labels are known`;
    return layer === "error" && this.bundle.truth ? "No errors: its classes are not those of the ground truth" : null;
  }

  // ---- arrangement ---------------------------------------------------------------------------------------------

  /** How the panes stand: as chosen; until then a narrow screen swipes and a wide one shows all. */
  mode() {
    return this.settings.mode ?? (this.root.clientWidth < NARROW ? "swipe" : "grid");
  }

  /** Turn to a mode, or from it back to all side by side. */
  toggleMode(mode) {
    this.set({ mode: this.mode() === mode ? "grid" : mode });
  }

  /** Key of the large pane: as chosen, else the last method. */
  focused() {
    return this.find(this.settings.focus) ? this.settings.focus : this.subjects.at(-1).key;
  }

  /** One large: turn to the subject so many places on. */
  focusNext(places) {
    const keys = this.subjects.map((subject) => subject.key);
    this.set({ focus: keys.at((keys.indexOf(this.focused()) + places) % keys.length) });
  }

  /** What is on a side of the swipe: as chosen, else the last method and what it is compared with, else photo and truth. */
  side(name) {
    const chosen = this.settings[name];
    if (this.find(chosen)) return chosen;
    const methods = this.subjects.filter((subject) => subject.kind === "method");
    if (name === "right") return this.subjects.at(-1).key;
    const right = this.side("right");
    const baseline = this.find(right)?.source?.baseline;
    return this.find(baseline) ? baseline : (methods.find((method) => method.key !== right)?.key ?? "photo");
  }

  isFullScreen() {
    return (this.root.getRootNode().fullscreenElement ?? document.fullscreenElement) === this.root;
  }

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.root.requestFullscreen?.().catch(() => this.say("This browser does not allow full screen here"));
  }

  // ---- settings ------------------------------------------------------------------------------------------------

  /** Change settings and redraw what depends on them. */
  set(changes) {
    Object.assign(this.settings, changes);
    if (["mode", "focus", "left", "right"].some((name) => name in changes)) {
      delete this.root.dataset.mode;
      this.panes.build();
    }
    if ("rail" in changes) layOut(this);
    this.refresh();
  }

  /** Hide the overlay for as long as a key or button is held. */
  peekAt(held) {
    this.peek = held;
    this.draw();
  }

  /** Switch the overlay off or on. */
  hide(off) {
    this.off = off;
    this.draw();
  }

  /** Bring controls, colours and canvases in line with the settings. */
  refresh() {
    if (!this.bundle) return;
    this.root.dataset.layer = this.settings.layer;
    this.toolbar.refresh();
    this.legend.refresh();
    this.readings.showScale(this.settings.layer);
    this.readings.describe();
    this.painter.forget();
    this.draw();
  }

  /** Draw all panes with the next frame. */
  draw() {
    this.address.write();
    if (!this.frame) this.frame = requestAnimationFrame(() => ((this.frame = 0), this.drawNow()));
  }

  drawNow() {
    const { bundle, panes, settings, view } = this;
    if (!bundle) return;
    if (panes.list.length) view.clamp(panes.list[0]);
    for (const pane of panes.list) {
      drawPane(this, pane);
      this.readings.placeBadge(pane);
      pane.frame.style.touchAction = settings.zoom > 1.001 || pane.key === "swipe" ? "none" : "pan-y";
    }
    this.toolbar.showZoom(settings.zoom);
    this.root.dataset.zoom = settings.zoom.toFixed(3);
    this.root.dataset.blinked = panes.blinked;
  }

  // ---- the pixel that is read ----------------------------------------------------------------------------------

  /** [x, y] of the image pixel that is held or pointed at, or null. */
  reading() {
    return this.pinned ?? this.pointer;
  }

  /** The pointer is over a pixel of a pane, or over none. */
  point(pane, at) {
    if (String(at) === String(this.pointer) && this.over === pane.key) return;
    Object.assign(this, { pointer: at, over: pane.key });
    if (!this.pinned) this.read();
  }

  /** Hold a pixel; a second click lets go, while a touch holds another one. */
  hold(pane, at, touch) {
    Object.assign(this, { pinned: this.pinned && !touch ? null : at, pointer: at, over: pane.key });
    this.read();
  }

  /** Release the held pixel. */
  letGo() {
    this.pinned = null;
    this.read();
  }

  /** The pointer has left the pane. */
  leave() {
    Object.assign(this, { pointer: null, over: null });
    if (this.pinned) this.draw();
    else this.read();
  }

  read() {
    this.readings.describe();
    this.draw();
  }

  // ---- words ---------------------------------------------------------------------------------------------------

  /** A sentence above the panes that stays until it is closed. */
  note(text) {
    this.notice.replaceChildren(
      node("span", {}, text),
      iconButton("close", "Close this note", () => (this.notice.hidden = true)),
    );
    this.notice.hidden = false;
  }

  /** A short note over the panes. */
  say(text) {
    this.hint.textContent = text;
    this.hint.classList.add("shown");
    clearTimeout(this.hintTimer);
    this.hintTimer = setTimeout(() => this.hint.classList.remove("shown"), 1400);
  }
}
