/** Wheel, pointers and touches on a pane: zoom, move, read a pixel, hold it, slide the line of a swipe. */
function listen(viewer, pane) {
  const { settings: s, view } = viewer;
  const { frame } = pane;
  const down = new Map(); // pointer id -> last [clientX, clientY]
  let moved = 0;
  let spread = 0;
  let lastTap = 0;
  let tapped = -1000; // time of the last double tap, which some browsers report as a double click too
  let sliding = false;
  const on = (type, handler, options = {}) =>
    frame.addEventListener(type, handler, { signal: viewer.abort.signal, ...options });

  on(
    "wheel",
    (event) => {
      const out = event.deltaY > 0;
      const awake =
        event.ctrlKey || event.metaKey || viewer.isFullScreen() || viewer.root.matches(":focus-within") || s.zoom > 1;
      if (!awake) return viewer.say("Click, or hold Ctrl, to zoom with the wheel");
      if (out && s.zoom <= 1 && !event.ctrlKey) return; // nothing left to zoom out of: let the page scroll
      event.preventDefault();
      const step = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
      view.zoomBy(Math.exp(-clamp(step, -120, 120) * (event.ctrlKey ? 0.01 : 0.003)), view.position(pane, event));
    },
    { passive: false },
  );

  on("pointerdown", (event) => {
    if (event.button > 0) return;
    viewer.root.focus({ preventScroll: true, focusVisible: false }); // the outline is for those who press keys
    down.set(event.pointerId, [event.clientX, event.clientY]);
    frame.setPointerCapture(event.pointerId);
    moved = 0;
    spread = 0;
    sliding = pane.key === "swipe" && (event.target === pane.handle || s.zoom <= 1);
    if (event.pointerType === "mouse") event.preventDefault();
  });

  on("pointermove", (event) => {
    const last = down.get(event.pointerId);
    if (!last) {
      if (event.pointerType === "mouse" || event.pointerType === "pen") viewer.point(pane, view.pixel(pane, event));
      return;
    }
    const [dx, dy] = [event.clientX - last[0], event.clientY - last[1]];
    moved += Math.abs(dx) + Math.abs(dy);
    down.set(event.pointerId, [event.clientX, event.clientY]);
    if (down.size === 2) {
      const [a, b] = [...down.values()];
      const distance = Math.hypot(a[0] - b[0], a[1] - b[1]);
      const middle = { clientX: (a[0] + b[0]) / 2, clientY: (a[1] + b[1]) / 2 };
      if (spread) view.zoomBy(distance / spread, view.position(pane, middle));
      spread = distance;
      view.pan(pane, dx / 2, dy / 2);
    } else if (sliding && moved > 2) {
      const box = frame.getBoundingClientRect();
      const density = pane.canvas.width / box.width;
      const [left, right] = view.span(pane);
      s.split = clamp(((event.clientX - box.left) * density - left) / (right - left), 0, 1);
      viewer.draw();
    } else if (moved > 4) {
      view.pan(pane, dx, dy);
    }
  });

  const release = (event) => {
    if (!down.delete(event.pointerId)) return;
    if (event.type === "pointercancel" || moved > 4 || down.size) return;
    const touch = event.pointerType !== "mouse";
    if (touch && event.timeStamp - lastTap < 300) {
      tapped = event.timeStamp;
      view.zoomBy(2, view.position(pane, event));
    } else if (pane.root.classList.contains("small")) {
      viewer.set({ focus: pane.key });
    } else {
      viewer.hold(pane, view.pixel(pane, event), touch);
    }
    lastTap = event.timeStamp;
  };
  on("pointerup", release);
  on("pointercancel", release);
  on("dblclick", (event) => {
    if (event.timeStamp - tapped < 600) return;
    viewer.pinned = null;
    view.zoomBy(event.shiftKey ? 0.5 : 2, view.position(pane, event));
  });
  on("pointerleave", () => down.size || viewer.leave());
}
