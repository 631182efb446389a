"use strict";

const MARKER = "\u2581"; // SentencePiece writes it where a word begins.
const element = (id) => document.getElementById(id);
let models = [];
let running = null;

/** Return the answer to a request. Throws the server's message if it refuses. */
async function ask(path, options) {
  const response = await fetch(path, options);
  const answer = await response.json().catch(() => ({ error: `status ${response.status}` }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function directions() {
  return models.flatMap((model) => model.directions);
}

function create(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** Offer languages, each once, and keep the chosen one if it is still there. */
function fill(select, languages) {
  const chosen = select.value;
  const unique = new Map(languages);
  select.replaceChildren(...[...unique].map(([code, name]) => new Option(name, code)));
  if (unique.has(chosen)) select.value = chosen;
}

function showTargets() {
  const reached = directions().filter((direction) => direction.source === element("source").value);
  fill(element("target"), reached.map((direction) => [direction.target, direction.target_name]));
  showModels();
}

/** Offer the models of the chosen direction; one that is alone is not worth a choice. */
function showModels() {
  const fitting = modelsOfDirection();
  const group = element("models");
  group.hidden = fitting.length < 2;
  const boxes = fitting.map((name) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.value = name;
    box.checked = true;
    label.append(box, name);
    return label;
  });
  group.replaceChildren(group.querySelector("legend"), ...boxes);
}

function modelsOfDirection() {
  const fits = (direction) =>
    direction.source === element("source").value && direction.target === element("target").value;
  return models.filter((model) => model.directions.some(fits)).map((model) => model.name);
}

function swap() {
  const [source, target] = [element("source").value, element("target").value];
  if (!directions().some((direction) => direction.source === target && direction.target === source)) {
    say("no model translates the other way round");
    return;
  }
  element("source").value = target;
  showTargets();
  element("target").value = source;
  showModels();
}

function say(message) {
  element("status").textContent = message;
}

function fail(message) {
  element("error").textContent = message;
  element("error").hidden = !message;
}

async function translate() {
  const text = element("text").value;
  const chosen = [...element("models").querySelectorAll("input:checked")].map((box) => box.value);
  fail("");
  if (!text.trim()) return element("results").replaceChildren();
  if (!chosen.length) return fail("Choose at least one model.");
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  element("results").classList.add("stale");
  say("translating …");
  const started = performance.now();
  try {
    const answers = await Promise.all(chosen.map((model) => ask("translate", {
      method: "POST",
      headers: { "content-type": "application/json" },
      signal,
      body: JSON.stringify({
        q: text,
        source: element("source").value,
        target: element("target").value,
        alternatives: Number(element("alternatives").value),
        model,
        details: true,
      }),
    })));
    element("results").replaceChildren(...answers.map(show));
    say(`done in ${((performance.now() - started) / 1000).toFixed(2)} s`);
  } catch (error) {
    // A newer request has taken the place of this one.
    if (error.name === "AbortError") return;
    fail(error.message);
    say("");
  }
  element("results").classList.remove("stale");
}

const percent = (share) => `${Math.round(100 * share)}\u2009%`;

/** Return the card of a model's answer. */
function show(answer) {
  const card = element("result").content.cloneNode(true);
  const lines = answer.lines[0].filter((line) => line.source.trim());
  card.querySelector("h2").textContent = answer.model;
  const lowest = Math.min(...lines.map((line) => line.translations[0].confidence));
  const label = lines.length > 1 ? "lowest confidence" : "confidence";
  card.querySelector(".confidence").textContent = `${label} ${percent(lowest)}`;
  const translation = card.querySelector(".translation");
  translation.textContent = answer.translatedText;
  translation.lang = answer.target;
  card.querySelector(".copy").addEventListener("click", () => copy(answer.translatedText));
  const flags = lines.flatMap((line) => line.flags.map((flag) => `${flag}: ${shorten(line.source)}`));
  card.querySelector(".flags").append(...flags.map((flag) => create("li", "", flag)));
  const alternatives = card.querySelector(".nbest");
  alternatives.hidden = !answer.alternatives;
  alternatives.open = Boolean(answer.alternatives);
  alternatives.querySelector(".lines").append(...lines.map(showAlternatives));
  card.querySelector(".scores .lines").append(...lines.flatMap((line) => line.pieces.map(showPieces)));
  return card;
}

function showAlternatives(line) {
  const list = document.createElement("ol");
  for (const { text, confidence } of line.translations) {
    const item = document.createElement("li");
    item.append(create("span", "confidence", percent(confidence)), create("span", "", text));
    list.append(item);
  }
  return list;
}

function showPieces(pieces) {
  const row = create("div", "pieces", "");
  pieces.forEach(({ piece, probability }, number) => {
    const isEnd = number === pieces.length - 1;
    const shown = create("span", "piece", isEnd ? "end" : piece.replaceAll(MARKER, "\u00a0") || "\u00a0");
    shown.classList.toggle("end", isEnd);
    shown.style.setProperty("--probability", probability);
    shown.append(create("small", "", String(Math.round(100 * probability))));
    row.append(shown);
  });
  return row;
}

function shorten(text) {
  return text.length > 40 ? `${text.slice(0, 39)}…` : text;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("copied");
  } catch {
    say("this browser does not allow copying here");
  }
}

async function start() {
  try {
    models = await ask("models");
  } catch (error) {
    fail(`The server does not answer: ${error.message}`);
    return;
  }
  fill(element("source"), directions().map((direction) => [direction.source, direction.source_name]));
  showTargets();
  element("source").addEventListener("change", showTargets);
  element("target").addEventListener("change", showModels);
  element("swap").addEventListener("click", swap);
  element("text").addEventListener("input", () => {
    element("count").textContent = `${[...element("text").value].length} characters`;
  });
  element("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) translate();
  });
  element("form").addEventListener("submit", (event) => {
    event.preventDefault();
    translate();
  });
}

start();
