"use strict";
// The script of all pages: it sends photographs, refreshes the list, shows eyes, and handles keys.
const texts = JSON.parse(document.body.dataset.texts);
const token = document.body.dataset.token;
const find = (selector) => document.querySelector(selector);
const POLL_MS = 2000;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// ---- photographs are sent one by one, so that the memory of a phone is large enough

function prepareSending() {
  const drop = find("#drop");
  if (!drop) return;
  const status = find("#sending"), bar = find("#sent"), questions = find("#questions");
  const waiting = [];
  let total = 0, done = 0, failed = 0, isSending = false, asked = 0;

  function show() {
    bar.hidden = !total;
    bar.max = Math.max(total, 1);
    bar.value = done + failed + asked;
    const open = questions.querySelectorAll("form").length;
    status.textContent = `${texts["files sent"]}: ${done} / ${total}` +
      (open ? `, ${texts["answers needed"]}: ${open}` : "") + (failed ? `, ${texts["not sent"]}: ${failed}` : "");
  }

  function say(file, sentence) {
    questions.append(make("li", {}, `${file.name}: ${texts["not sent"]}. ${sentence}`));
  }

  function ask(file, needs) {
    asked += 1;
    const number = `question-${asked}-${Date.now()}`;
    const form = make("form", {}, make("strong", {}, file.name, ": ", texts["Which patient and which eye is it?"]));
    const fields = {};
    if (needs.includes("patient")) {
      // The field starts empty, because the number of the last patient would soon be a wrong one.
      fields.patient = make("input", { id: `${number}-p`, required: "", maxlength: "64", autocomplete: "off" });
      form.append(make("label", { for: `${number}-p` }, texts["Patient's number"], fields.patient));
    }
    fields.eye = make("select", { id: `${number}-e`, required: "" }, make("option", { value: "" }, "…"),
      make("option", { value: "right" }, texts["right eye"]), make("option", { value: "left" }, texts["left eye"]));
    form.append(make("label", { for: `${number}-e` }, texts["Eye"], fields.eye));
    form.append(make("button", {}, texts["Send"]));
    const leave = make("button", { type: "button" }, texts["Leave out"]);
    form.append(leave);
    const item = make("li", {}, form);
    leave.addEventListener("click", () => { item.remove(); asked -= 1; total -= 1; show(); });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      item.remove();
      asked -= 1;
      waiting.unshift({ file, patient: fields.patient?.value ?? "", eye: fields.eye.value });
      sendAll();
    });
    questions.append(item);
  }

  async function send({ file, patient, eye }) {
    const form = new FormData();
    form.append("patient", patient ?? "");
    form.append("eye", eye ?? "");
    form.append("photograph", file, "photograph");  // the file's name is not sent: it may name a patient
    for (;;) {
      let answer;
      try {
        answer = await fetch("/photographs", { method: "POST", body: form, headers: { "X-Token": token } });
      } catch {
        failed += 1;
        say(file, texts["The program cannot be reached."]);
        return;
      }
      if (answer.status === 429) {
        await new Promise((resolve) => setTimeout(resolve, 1000 * Number(answer.headers.get("Retry-After") || 5)));
        continue;
      }
      const found = await answer.json().catch(() => ({}));
      if (answer.ok) done += 1;
      else if (found.needs) ask(file, found.needs);
      else { failed += 1; say(file, found.error || String(answer.status)); }
      return;
    }
  }

  async function sendAll() {
    if (isSending) return;
    isSending = true;
    while (waiting.length) {
      show();
      await send(waiting.shift());
    }
    isSending = false;
    show();
    refresh();
  }

  function add(files) {
    for (const file of files) {
      waiting.push({ file });
      total += 1;
    }
    sendAll();
  }

  // Files that cannot be read are counted and named, and the other files are sent.
  async function readEntry(entry) {
    const found = [];
    try {
      if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
      const reader = entry.createReader();
      for (;;) {  // a browser gives at most 100 entries at a time
        const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (!some.length) return found;
        for (const one of some) found.push(...await readEntry(one));
      }
    } catch {
      total += 1;
      failed += 1;
      say(entry, texts["The file or folder cannot be read."]);
      return found;
    }
  }

  for (const id of ["files", "folder"]) {
    find(`#${id}`).addEventListener("change", (event) => { add([...event.target.files]); event.target.value = ""; });
  }
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
    });
  }
  document.addEventListener("drop", async (event) => {
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    for (const entry of entries) add(await readEntry(entry));
  });
}

// ---- the list

let listed = "";
async function refresh() {
  const list = find("#list");
  if (!list) return;
  // Without "Accept: text/html", the answer after the end of a session is 401, and no sign-in page.
  const answer = await fetch(list.dataset.address).catch(() => null);
  const notice = find("#unreachable");
  if (answer) notice?.remove();
  else if (!notice) list.before(make("p", { id: "unreachable", role: "alert" }, texts["The program cannot be reached."]));
  if (answer?.status === 401) { location.assign("/sign-in"); return; }
  if (!answer?.ok) return;
  const html = await answer.text();
  if (html === listed) return;
  listed = html;
  const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  list.innerHTML = html;  // made by this program, with all text escaped
  if (focused) list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
}

// ---- looking at eyes

function prepareViewers() {
  const viewers = [...document.querySelectorAll(".viewer")];
  if (!viewers.length) return;
  const brightness = find("#brightness"), red = find("#red");
  let zoom = 0;  // 0 shows the whole eye; otherwise pixels of the screen for a pixel of the photograph

  function paint() {
    const isRedFree = red.getAttribute("aria-pressed") === "true";
    for (const viewer of viewers) {
      const image = viewer.querySelector("img");
      const x = (viewer.scrollLeft + viewer.clientWidth / 2) / viewer.scrollWidth;
      const y = (viewer.scrollTop + viewer.clientHeight / 2) / viewer.scrollHeight;
      viewer.classList.toggle("zoomed", zoom > 0);
      image.style.width = zoom ? `${Math.round(image.naturalWidth * zoom)}px` : "";
      image.style.filter = `${isRedFree ? "url(#red-free) " : ""}brightness(${brightness.value})`;
      viewer.scrollTo(x * viewer.scrollWidth - viewer.clientWidth / 2, y * viewer.scrollHeight - viewer.clientHeight / 2);
    }
  }

  function setZoom(how) {
    const image = viewers[0].querySelector("img");
    const now = zoom || image.clientWidth / (image.naturalWidth || 1);
    zoom = { in: Math.min(now * 1.5, 8), out: now / 1.5, whole: 0, full: 1 / window.devicePixelRatio }[how];
    if (how === "out" && zoom * image.naturalWidth < viewers[0].clientWidth * 0.9) zoom = 0;
    paint();
  }

  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => setZoom(button.dataset.zoom));
  }
  brightness.addEventListener("input", paint);
  red.addEventListener("click", () => {
    red.setAttribute("aria-pressed", String(red.getAttribute("aria-pressed") !== "true"));
    paint();
  });
  for (const viewer of viewers) {
    let from = null;
    viewer.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse") return;  // a finger scrolls already
      from = { x: event.clientX + viewer.scrollLeft, y: event.clientY + viewer.scrollTop };
      viewer.setPointerCapture(event.pointerId);
    });
    viewer.addEventListener("pointermove", (event) => {
      if (from) viewer.scrollTo(from.x - event.clientX, from.y - event.clientY);
    });
    viewer.addEventListener("pointerup", () => { from = null; });
  }
  const step = (by) => { brightness.value = Number(brightness.value) + by; paint(); };
  const keys = {
    "+": () => setZoom("in"), "=": () => setZoom("in"), "-": () => setZoom("out"), 0: () => setZoom("whole"),
    1: () => setZoom("full"), "[": () => step(-0.2), "]": () => step(0.2), g: () => red.click(),
    j: () => find("#later")?.click(), k: () => find("#earlier")?.click(), a: () => find("#accept")?.click(),
    r: () => find("#refer")?.click(), u: () => find("#undo")?.click(),
    o: () => find("#new-outcome")?.focus(),
  };
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input:not([type=range]), textarea, select");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
}

prepareSending();
prepareViewers();
if (find("#list")) setInterval(refresh, POLL_MS);
if (find("#waiting")) setTimeout(() => location.reload(), POLL_MS);
