/** Where carriers leave what they bring for the viewer of a key, whichever of them the page mounts first. */
function post(key) {
  const boxes = (globalThis.sim2streetPost ??= new Map());
  if (!boxes.has(key)) boxes.set(key, { images: new Map(), holders: new Map(), bundle: null, shown: null, tell: () => {} });
  return boxes.get(key);
}

/** The newest bundle with its images; null until all of them are there. */
function whole({ bundle, images }) {
  if (!bundle) return null;
  const parts = [bundle.photo, bundle.truth, ...bundle.methods];
  if (parts.some((part) => part && !images.has(part.images))) return null;
  const join = (part) => part && { ...part, ...images.get(part.images) };
  return { ...bundle, photo: join(bundle.photo), truth: join(bundle.truth), methods: bundle.methods.map(join) };
}
