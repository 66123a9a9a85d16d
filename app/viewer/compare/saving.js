// Pictures to take away.

/** Save one subject at the photo's own size, as it looks now but whole. */
function saveOne(viewer, subject) {
  download(wholePicture(viewer, subject), `${subject.key}_${viewer.settings.layer}.png`);
}

/** Save all subjects with their captions as one picture, fit for a slide. */
function saveAll(viewer) {
  const { subjects } = viewer;
  const { width, height } = viewer.bundle;
  const columns = Math.ceil(Math.sqrt((subjects.length * height * 1.6) / width));
  const [gap, head] = [Math.round(width / 50), Math.round(width / 14)];
  const canvas = canvasOf({
    width: columns * (width + gap) + gap,
    height: Math.ceil(subjects.length / columns) * (height + head + gap) + gap,
  });
  const context = canvas.getContext("2d");
  const style = getComputedStyle(viewer.root);
  context.fillStyle = style.backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.textBaseline = "middle";
  subjects.forEach((subject, i) => {
    const [x, y] = [gap + (i % columns) * (width + gap), gap + Math.floor(i / columns) * (height + head + gap)];
    const iou = subject.source?.meanIou == null ? "" : `IoU ${(100 * subject.source.meanIou).toFixed(1)}`;
    context.fillStyle = style.color;
    context.font = `600 ${Math.round(head * 0.46)}px ${style.fontFamily}`;
    context.fillText(subject.title, x, y + head / 2, width * 0.72);
    context.textAlign = "right";
    context.font = `400 ${Math.round(head * 0.4)}px ${style.fontFamily}`;
    context.fillText(iou, x + width, y + head / 2);
    context.textAlign = "left";
    context.drawImage(wholePicture(viewer, subject), x, y + head);
  });
  download(canvas, `sim2street_${viewer.settings.layer}.png`);
}

function wholePicture({ bundle, painter, settings, off }, subject) {
  const canvas = canvasOf(bundle);
  const context = canvas.getContext("2d");
  context.drawImage(painter.groundOf(subject, settings.layer), 0, 0, canvas.width, canvas.height);
  const overlay = off ? null : painter.overlayOf(subject, settings.layer);
  if (overlay) {
    context.globalAlpha = settings.opacity;
    drawOverlay(context, overlay, canvas);
  }
  return canvas;
}

/** Hand a canvas to the person as a PNG file. */
function download(canvas, name) {
  canvas.toBlob((blob) => {
    const link = node("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }, "image/png");
}
