/** Shows nothing: brings the images of one pane, `data.images`, or a state of the page, `data.bundle`, to the viewer. */
export default function ({ data: [data] }) {
  const box = post(data.viewer);
  if (data.images) box.images.set(data.digest, data.images);
  else box.bundle = data.bundle;
  box.tell();
  return () => {
    // Another carrier may have brought the same or a newer one meanwhile.
    if (box.images.get(data.digest) === data.images) box.images.delete(data.digest);
    if (box.bundle === data.bundle) box.bundle = null;
  };
}
