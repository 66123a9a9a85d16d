// Drawing the panes: ground, overlay, the line of a swipe, and the cross at the pixel that is read.

/** Draw one pane as the settings say. */
function drawPane(viewer, pane) {
  const context = pane.canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, pane.canvas.width, pane.canvas.height);
  const whole = [0, pane.canvas.width];
  if (pane.key === "swipe") drawSwipe(viewer, pane, context);
  else if (pane.key === "blink") drawSide(viewer, pane, context, viewer.panes.blinked, whole);
  else drawSubject(viewer, pane, context, viewer.find(pane.key), viewer.settings.layer, whole);
  drawCross(viewer, pane, context);
}

function drawSwipe(viewer, pane, context) {
  const { split } = viewer.settings;
  const [left, right] = viewer.view.span(pane);
  const at = left + split * (right - left);
  drawSide(viewer, pane, context, "left", [0, at]);
  drawSide(viewer, pane, context, "right", [at, pane.canvas.width]);
  pane.handle.style.left = `${(100 * at) / pane.canvas.width}%`;
  pane.handle.setAttribute("aria-valuenow", String(Math.round(100 * split)));
}

/** Draw what one side of a swipe or a blink shows. */
function drawSide(viewer, pane, context, side, columns) {
  const layer = viewer.settings[`${side}Layer`] ?? viewer.settings.layer;
  drawSubject(viewer, pane, context, viewer.find(viewer.side(side)), layer, columns);
}

/** Draw a subject into some columns of a pane, from one to the other in canvas pixels. */
function drawSubject(viewer, pane, context, subject, layer, [from, to]) {
  const { painter, settings, peek, off } = viewer;
  const { scale, x, y } = viewer.view.transform(pane);
  const { width, height } = viewer.bundle;
  context.save();
  context.beginPath();
  context.rect(from, 0, to - from, pane.canvas.height);
  context.clip();
  context.setTransform(scale, 0, 0, scale, x, y);
  context.imageSmoothingEnabled = scale < 4; // beyond that the pixels themselves are of interest
  context.imageSmoothingQuality = "high";
  context.drawImage(painter.groundOf(subject, layer), 0, 0, width, height);
  const overlay = subject && !peek && !off && painter.overlayOf(subject, layer);
  if (overlay) {
    context.globalAlpha = settings.opacity;
    drawOverlay(context, overlay, viewer.bundle);
  }
  context.restore();
}

function drawCross(viewer, pane, context) {
  const at = viewer.reading();
  if (!at) return;
  const { scale, x, y } = viewer.view.transform(pane);
  const density = pane.canvas.width / pane.frame.clientWidth;
  const [px, py] = [x + (at[0] + 0.5) * scale, y + (at[1] + 0.5) * scale];
  const arms = [
    [1, 0],
    [-1, 0],
    [0, 1],
    [0, -1],
  ];
  for (const [colour, width] of [
    ["rgba(0,0,0,.65)", 3],
    ["#fff", 1.25],
  ]) {
    context.strokeStyle = colour;
    context.lineWidth = width * density;
    context.beginPath();
    for (const [dx, dy] of arms) {
      context.moveTo(px + dx * 4 * density, py + dy * 4 * density);
      context.lineTo(px + dx * 11 * density, py + dy * 11 * density);
    }
    if (viewer.pinned) context.rect(px - 2 * density, py - 2 * density, 4 * density, 4 * density);
    context.stroke();
  }
}
