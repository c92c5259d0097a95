// The search box in the header and the search page. The index is made by Pagefind when the site is built and is
// loaded from this site, in small pieces, when somebody searches.

const box = document.querySelector("[data-qkb-search]");
const base = new URL(`${box?.dataset.base ?? "."}/`, location.href);

let engine;

/** Load the search engine on first use. */
function pagefind() {
  engine ??= import(new URL("pagefind/pagefind.js", base)).then(async (module) => {
    await module.options({ excerptLength: 28 });
    await module.init();
    return module;
  });
  return engine;
}

/** Make an element; children are nodes or text, never HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Turn an excerpt into nodes: the engine marks hits with <mark> and escapes angle brackets, nothing else. */
function excerptNodes(excerpt) {
  return excerpt.split(/<mark>(.*?)<\/mark>/s).map((part, index) => {
    const text = part.replaceAll("&lt;", "<").replaceAll("&gt;", ">");
    return index % 2 ? make("mark", {}, text) : document.createTextNode(text);
  });
}

function words(text) {
  return text.toLowerCase().normalize("NFKD").match(/[\p{L}\p{N}]+/gu) ?? [];
}

/**
 * The words of a query that no shown result contains. The engine answers an unknown word with pages that share its
 * beginning; a reader should know. Endings may differ, because the engine compares stems.
 */
function missingWords(query, results) {
  const hits = results.flatMap((result) =>
    [...result.excerpt.matchAll(/<mark>(.*?)<\/mark>/gs)].flatMap((match) => words(match[1])).concat(words(result.meta.title)),
  );
  return words(query).filter((word) => {
    const enough = Math.max(Math.min(word.length, 4), word.length - 4);
    return !hits.some((hit) => hit.startsWith(word.slice(0, enough)));
  });
}

/** The line under a result's title. */
function caption(result) {
  const { authors, published } = result.meta;
  return [authors, published].filter(Boolean).join(" · ");
}

function isTyping(target) {
  return target.closest?.("input, textarea, select, [contenteditable]");
}

// ---------------------------------------------------------------------------------------------- the header's box

function headerBox(form) {
  const input = form.querySelector("input");
  const list = form.querySelector("[role=listbox]");
  let latest = 0;

  function close() {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function open(children) {
    list.replaceChildren(...children);
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    input.removeAttribute("aria-activedescendant");
  }

  function options() {
    return [...list.querySelectorAll("[role=option]")];
  }

  function choose(step) {
    const all = options();
    if (!all.length) return;
    const now = all.findIndex((option) => option.getAttribute("aria-selected") === "true");
    const next = all[(now + step + all.length + (now < 0 && step < 0 ? 1 : 0)) % all.length];
    for (const option of all) option.setAttribute("aria-selected", String(option === next));
    input.setAttribute("aria-activedescendant", next.id);
    next.scrollIntoView({ block: "nearest" });
  }

  async function search() {
    const turn = ++latest;
    const query = input.value.trim();
    if (!query) return close();
    try {
      const found = await (await pagefind()).debouncedSearch(query, {}, 120);
      if (!found || turn !== latest) return;
      const shown = await Promise.all(found.results.slice(0, 6).map((result) => result.data()));
      if (turn !== latest) return;
      const missing = missingWords(query, shown);
      const children = shown.map((result, index) =>
        make(
          "a",
          { role: "option", id: `qkb-option-${index}`, href: result.url, tabindex: -1, "aria-selected": "false" },
          make("strong", {}, result.meta.title),
          make("small", {}, caption(result)),
        ),
      );
      if (missing.length) children.unshift(make("p", {}, `Nothing contains “${missing.join("”, “")}”.`));
      const all = new URL("search/", base);
      all.searchParams.set("q", query);
      const label = found.results.length > shown.length ? `All ${found.results.length} results, with filters` : "Search with filters";
      children.push(
        make("a", { role: "option", id: "qkb-option-all", href: all.href, tabindex: -1, "aria-selected": "false", class: "qkb-search__all" }, label),
      );
      open(children);
    } catch {
      open([make("p", {}, "The search index could not be loaded.")]);
    }
  }

  input.addEventListener("input", search);
  input.addEventListener("focus", () => {
    pagefind().catch(() => {});
    if (input.value.trim()) search();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      choose(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Escape") {
      event.preventDefault(); // some browsers would empty the box
      close();
      input.blur();
    } else if (event.key === "Enter") {
      const chosen = options().find((option) => option.getAttribute("aria-selected") === "true");
      if (chosen && !list.hidden) {
        event.preventDefault();
        chosen.click();
      }
    }
  });
  document.addEventListener("click", (event) => {
    if (!form.contains(event.target)) close();
  });
}

// ---------------------------------------------------------------------------------------------- the search page

const FACETS = ["implementation", "tag", "year", "topic", "venue", "kind"];
const STEP = 10;

function searchPage(root) {
  const state = { query: "", filters: {}, shown: STEP };
  let latest = 0;

  const input = make("input", { type: "search", name: "q", "aria-label": "Search the survey", placeholder: "Titles, authors, methods, notes, code", autocomplete: "off" });
  const form = make("form", { class: "qkb-home-search", role: "search" }, input);
  const status = make("p", { class: "qkb-search-status", role: "status" });
  const chips = make("p", { class: "qkb-search-chips" });
  const list = make("ol", { class: "qkb-results" });
  const more = make("button", { type: "button", class: "qkb-more" }, "More results");
  const groups = make("div", { class: "qkb-facet-groups" });
  const facets = make("details", { class: "qkb-facets", open: matchMedia("(min-width: 60em)").matches }, make("summary", {}, "Filters"), groups);
  root.replaceChildren(form, make("div", { class: "qkb-search-page" }, facets, make("div", {}, status, chips, list, more)));

  function readAddress() {
    const given = new URLSearchParams(location.search);
    state.query = given.get("q") ?? "";
    state.filters = {};
    for (const facet of FACETS) {
      const values = given.getAll(facet);
      if (values.length) state.filters[facet] = new Set(values);
    }
    input.value = state.query;
  }

  function writeAddress() {
    const address = new URL(location.href);
    address.search = "";
    if (state.query) address.searchParams.set("q", state.query);
    for (const [facet, values] of Object.entries(state.filters)) {
      for (const value of values) address.searchParams.append(facet, value);
    }
    history.replaceState(null, "", address);
  }

  function toggle(facet, value) {
    const values = (state.filters[facet] ??= new Set());
    if (!values.delete(value)) values.add(value);
    if (!values.size) delete state.filters[facet];
    refresh();
  }

  function facetGroup(facet, counts, open) {
    const chosen = state.filters[facet] ?? new Set();
    const names = Object.keys(counts).filter((name) => counts[name] || chosen.has(name));
    names.sort(facet === "year" ? (a, b) => b - a : (a, b) => counts[b] - counts[a] || a.localeCompare(b));
    const rows = names.map((name) => {
      const check = make("input", { type: "checkbox", name: facet, value: name, checked: chosen.has(name) });
      check.addEventListener("change", () => toggle(facet, name));
      return make("label", {}, check, make("span", {}, name), make("small", {}, String(counts[name] ?? 0)));
    });
    return make("details", { class: "qkb-facet", "data-facet": facet, open: open || chosen.size > 0 }, make("summary", {}, facet), ...rows);
  }

  /**
   * How many pages each value of each filter would give. Values of one filter add up, so the counts of a filter with
   * a choice come from a search without that choice.
   */
  async function countFacets(module, all, found) {
    const counts = {};
    for (const facet of FACETS.filter((name) => all[name])) {
      if (!state.filters[facet]) {
        counts[facet] = found.filters[facet] ?? {};
        continue;
      }
      const others = engineFilters(facet);
      const free = !state.query && !Object.keys(others).length;
      counts[facet] = free ? all[facet] : (await module.search(state.query || null, { filters: others })).filters[facet] ?? {};
    }
    return counts;
  }

  /** The chosen filters in the engine's terms, but for one of them. */
  function engineFilters(except) {
    const chosen = Object.entries(state.filters).filter(([facet]) => facet !== except);
    return Object.fromEntries(chosen.map(([facet, values]) => [facet, { any: [...values] }]));
  }

  function showFacets(counts) {
    const opened = new Set([...groups.querySelectorAll("details[open]")].map((group) => group.dataset.facet));
    const first = !groups.childElementCount;
    const focus = document.activeElement;
    const focused = focus?.matches?.(".qkb-facet input") ? [focus.name, focus.value] : null;
    groups.replaceChildren(
      ...Object.entries(counts).map(([facet, values]) =>
        facetGroup(facet, values, first ? ["implementation", "tag", "year"].includes(facet) : opened.has(facet)),
      ),
    );
    if (focused) [...groups.querySelectorAll("input")].find((check) => check.name === focused[0] && check.value === focused[1])?.focus();
  }

  function showChips() {
    const chosen = Object.entries(state.filters).flatMap(([facet, values]) => [...values].map((value) => [facet, value]));
    chips.replaceChildren(
      ...chosen.map(([facet, value]) => {
        const chip = make("button", { type: "button", "aria-label": `Remove ${facet} ${value}` }, `${facet}: ${value} ×`);
        chip.addEventListener("click", () => toggle(facet, value));
        return chip;
      }),
    );
  }

  function resultItem(result) {
    return make(
      "li",
      {},
      make("a", { href: result.url }, result.meta.title),
      make("span", { class: "qkb-result-facts" }, caption(result)),
      make("p", {}, ...excerptNodes(result.excerpt)),
    );
  }

  async function refresh() {
    const turn = ++latest;
    writeAddress();
    showChips();
    const filters = engineFilters();
    try {
      const module = await pagefind();
      const all = await module.filters(); // counts are complete only once every filter is loaded
      const everything = !state.query && !Object.keys(filters).length;
      const found = everything ? { results: [], filters: all } : await module.search(state.query || null, { filters });
      const counts = await countFacets(module, all, found);
      const data = await Promise.all(found.results.slice(0, state.shown).map((result) => result.data()));
      if (turn !== latest) return;
      const missing = state.query ? missingWords(state.query, data) : [];
      const count = found.results.length;
      status.textContent = everything
        ? "Type a word, or choose a filter."
        : `${missing.length && count ? `Nothing contains “${missing.join("”, “")}”. Nearest: ` : ""}${count === 1 ? "1 page" : `${count} pages`}`;
      list.replaceChildren(...data.map(resultItem));
      more.hidden = count <= data.length;
      showFacets(counts);
    } catch (error) {
      status.textContent = "The search index could not be loaded. The tables by year, topic and tag need none.";
      console.warn(error);
    }
  }

  let timer;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      state.query = input.value.trim();
      state.shown = STEP;
      refresh();
    }, 150);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => {
    state.shown += STEP;
    refresh();
  });
  addEventListener("popstate", () => {
    readAddress();
    refresh();
  });
  readAddress();
  refresh();
  if (matchMedia("(min-width: 60em)").matches) input.focus();
  return input;
}

// ---------------------------------------------------------------------------------------------------- start

const page = document.getElementById("qkb-search-page");
const pageInput = page && searchPage(page);
if (box) headerBox(box);

document.addEventListener("keydown", (event) => {
  const slash = event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !isTyping(event.target);
  const control = event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey);
  if (!slash && !control) return;
  event.preventDefault();
  const header = box?.querySelector("input");
  const target = pageInput ?? (header?.offsetParent ? header : null);
  if (target) {
    target.focus();
    target.select();
  } else {
    location.href = new URL("search/", base).href; // the narrow header shows a link instead of the box
  }
});
