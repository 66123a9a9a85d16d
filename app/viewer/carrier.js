/** Shows nothing: brings the images of one pane, `data.images`, or a state of the page, `data.bundle`, to the viewer. */
export default function ({ data: [data], parentElement }) {
  const box = post(data.viewer);
  if (data.images) {
    box.images.set(data.digest, data.images);
    if (!box.holders.has(data.digest)) box.holders.set(data.digest, new Set());
    box.holders.get(data.digest).add(parentElement);
  } else box.bundle = data.bundle;
  box.tell();
  return () => {
    // While a page is drawn again, a pane's images are there twice where its carrier moves: the last one takes them away.
    const holders = box.holders.get(data.digest);
    if (holders?.delete(parentElement) && !holders.size) {
      box.holders.delete(data.digest);
      box.images.delete(data.digest);
    }
    if (box.bundle === data.bundle) box.bundle = null; // unless a newer one came meanwhile
  };
}
