// Runs before the page is painted. The theme's bundle expects these four globals; its own definitions stand inside
// every page, which our content policy does not allow.
"use strict";

globalThis.__md_scope = new URL(document.currentScript.dataset.base, location.href);

globalThis.__md_hash = (text) => {
  let hash = 0;
  for (const letter of text) hash = (hash << 5) - hash + letter.charCodeAt(0);
  return hash;
};

globalThis.__md_get = (key, storage = localStorage, scope = __md_scope) => {
  try {
    return JSON.parse(storage.getItem(`${scope.pathname}.${key}`));
  } catch {
    return null; // no storage, or something else wrote there
  }
};

globalThis.__md_set = (key, value, storage = localStorage, scope = __md_scope) => {
  try {
    storage.setItem(`${scope.pathname}.${key}`, JSON.stringify(value));
  } catch {
    // private windows may forbid it; the choice then lasts as long as the page
  }
};

// The reader's colours: the stored choice, else what the system asks for.
{
  const options = [...document.querySelectorAll("[data-md-component=palette] input")];
  const asks = (option) => matchMedia(option.dataset.mdColorMedia).matches;
  let chosen = options[__md_get("__palette")?.index] ?? options.find(asks);
  if (chosen?.dataset.mdColorMedia === "(prefers-color-scheme)") {
    chosen = options.find((option) => option !== chosen && asks(option)) ?? chosen;
  }
  for (const name of ["scheme", "primary", "accent"]) {
    const value = chosen?.getAttribute(`data-md-color-${name}`);
    if (value) document.body.setAttribute(`data-md-color-${name}`, value);
  }
}
