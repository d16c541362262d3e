// Fill the selector of versions; a page that is read alone, without the others, keeps its own.
const chosen = document.getElementById("version");
const root = new URL(chosen.dataset.root + "/", location.href);
for (const version of window.watchkeeperVersions ?? []) {
  if (version === chosen.dataset.version) continue;
  chosen.add(new Option(version, version));
}
chosen.addEventListener("change", () => {
  location.href = new URL(`../${chosen.value}/index.html`, root);
});
