"use strict";
// Chooses among the simulated options in this page, as drdeploy.study.recommendation.choice does.
(() => {
  const grid = JSON.parse(document.getElementById("explore-grid").textContent);
  const at = (id) => document.getElementById(id);
  const [volume, step, p95, budget] =
    ["volume", "volume-step", "p95", "budget"].map((name) => at(`explore-${name}`));
  const number = (field) => {
    const value = field.value.trim() === "" ? NaN : Number(field.value);
    return value > 0 && Number.isFinite(value) ? value : null;
  };
  // A field that holds text other than a number has an empty value, although it is not empty.
  const isWrong = (field) =>
    number(field) === null && (field.value.trim() !== "" || field.validity.badInput);
  const markWrongFields = () => {
    const wrong = [volume, p95, budget].filter(isWrong);
    for (const field of [volume, p95, budget]) {
      if (wrong.includes(field)) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
    }
    return wrong.length > 0;
  };
  const grouped = (value) => Number(value.toPrecision(6)).toLocaleString("en");
  const short = (value) => (value === null ? "unknown" : String(Number(value.toPrecision(3))));
  const usdText = (value) => (value === null ? "unknown" : `${short(value)} USD`);
  const secondsText = (value) => (value === null ? "without end" : `${short(value)} s`);

  // The nearest volume by ratio: only simulated volumes are shown, and nothing is interpolated.
  const nearest = (wanted) => {
    const distance = grid.volumes.map((one) => Math.abs(Math.log(one / wanted)));
    return distance.indexOf(Math.min(...distance));
  };

  const whyNot = (option, p95_s, budget_usd) => {
    const reasons = option.why_not ? [option.why_not] : [];
    const time = option.p95_s === null ? Infinity : option.p95_s;
    if (p95_s !== null && time > p95_s) {
      reasons.push(`p95 ${secondsText(option.p95_s)}, above ${p95_s} s`);
    }
    if (budget_usd !== null && option.usd !== null && option.usd > budget_usd) {
      reasons.push(`${usdText(option.usd)} a month, above ${budget_usd} USD`);
    }
    return reasons.join("; ");
  };

  // About the same cost as the cheapest, then the simplest, then the fastest, then the cheapest.
  const choose = (options) => {
    if (!options.length) return null;
    const time = (one) => (one.p95_s === null ? Infinity : one.p95_s);
    const cheapest = Math.min(...options.map((one) => one.usd));
    const highest = Math.max(cheapest * (1 + grid.same_cost_share), cheapest + grid.same_cost_usd);
    let left = options.filter((one) => one.usd <= highest);
    const fewest = Math.min(...left.map((one) => one.parts));
    left = left.filter((one) => one.parts === fewest);
    const fastest = Math.min(...left.map(time));
    left = left.filter((one) => time(one) <= fastest * (1 + grid.same_speed_share));
    return left.reduce((best, one) => (one.usd < best.usd ? one : best));
  };

  const draw = (options, winner, p95_s, budget_usd) => {
    const known = options.filter((one) => one.usd && one.p95_s);
    const picture = at("explore-picture");
    picture.replaceChildren();
    if (!known.length) return;
    const add = (name, values, text = "") => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(values)) made.setAttribute(key, value);
      made.textContent = text;
      picture.append(made);
      return made;
    };
    // One unit per pixel, so that letters have the same size on a phone.
    const width = Math.round(Math.max(300, picture.getBoundingClientRect().width || 640));
    picture.setAttribute("viewBox", `0 0 ${width} 350`);
    const [left, right, top, bottom] = [50, width - 15, 12, 322];
    const scale = (values, from, to) => {
      const logs = values.map(Math.log10);
      const low = Math.min(...logs) - 0.12, high = Math.max(...logs) + 0.12;
      return { low, high, place: (v) => from + (to - from) * (Math.log10(v) - low) / (high - low) };
    };
    const x = scale([...known.map((one) => one.p95_s), ...(p95_s ? [p95_s] : [])], left, right);
    const y = scale([...known.map((one) => one.usd), ...(budget_usd ? [budget_usd] : [])], bottom, top);
    const ticks = (axis) => {
      const found = [];
      for (let power = Math.floor(axis.low); power <= axis.high; power += 1) {
        for (const digit of [1, 2, 5]) {
          const value = digit * 10 ** power;
          if (Math.log10(value) >= axis.low && Math.log10(value) <= axis.high) found.push(value);
        }
      }
      return found.length > (right - left) / 60 ? found.filter((v) => Number.isInteger(Number(Math.log10(v).toFixed(6)))) : found;
    };
    const line = { stroke: "#d9dee3", "stroke-width": 1 };
    for (const value of ticks(x)) {
      add("line", { ...line, x1: x.place(value), x2: x.place(value), y1: top, y2: bottom });
      add("text", { x: x.place(value), y: bottom + 18, "text-anchor": "middle", "font-size": 13 }, `${short(value)} s`);
    }
    for (const value of ticks(y)) {
      add("line", { ...line, x1: left, x2: right, y1: y.place(value), y2: y.place(value) });
      add("text", { x: left - 6, y: y.place(value) + 4, "text-anchor": "end", "font-size": 13 }, short(value));
    }
    const limit = { stroke: "#0a5a92", "stroke-width": 2, "stroke-dasharray": "6 4" };
    if (p95_s) add("line", { ...limit, x1: x.place(p95_s), x2: x.place(p95_s), y1: top, y2: bottom });
    if (budget_usd) add("line", { ...limit, x1: left, x2: right, y1: y.place(budget_usd), y2: y.place(budget_usd) });
    for (const one of known) {
      const place = { cx: x.place(one.p95_s), cy: y.place(one.usd) };
      const possible = whyNot(one, p95_s, budget_usd) === "";
      const mark = add("circle", {
        ...place, r: 5, stroke: "#1b1f24", "stroke-width": 1.3, fill: possible ? "#0a5a92" : "none",
      });
      const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
      title.textContent = `${one.name}: ${usdText(one.usd)} a month, p95 ${secondsText(one.p95_s)}`;
      mark.append(title);
      if (one === winner) add("circle", { ...place, r: 10, stroke: "#c0392b", "stroke-width": 3, fill: "none" });
    }
  };

  const list = (options, winner, p95_s, budget_usd) => {
    at("explore-rows").replaceChildren(...options.map((one) => {
      const row = document.createElement("tr");
      const cell = (name, text, label) => {
        const made = document.createElement(name);
        made.textContent = text;
        if (label) made.dataset.label = label;
        if (label && label !== "why not") made.className = "num";
        row.append(made);
        return made;
      };
      cell("th", one === winner ? `${one.name} (chosen)` : one.name).scope = "row";
      cell("td", usdText(one.usd), "USD a month");
      cell("td", secondsText(one.p95_s), "p95");
      cell("td", whyNot(one, p95_s, budget_usd), "why not").classList.add("last");
      return row;
    }));
  };

  const decide = () => {
    const wanted = number(volume) ?? grid.volume;
    const column = nearest(wanted);
    const used = grid.volumes[column];
    const options = grid.options[column];
    const [p95_s, budget_usd] = [number(p95), number(budget)];
    const wrong = markWrongFields();
    const winner = wrong ? null : choose(options.filter((one) => whyNot(one, p95_s, budget_usd) === ""));
    step.value = column;
    step.setAttribute("aria-valuetext", `${grouped(used)} requests a month`);
    at("explore-rounded").textContent = Math.abs(used / wanted - 1) < 1e-9
      ? `Simulated at ${grouped(used)} requests a month.`
      : `${grouped(wanted)} is rounded to ${grouped(used)} requests a month, the nearest simulated volume (${grid.volumes.map(grouped).join(", ")}).`;
    at("explore-winner").textContent = winner
      ? `Host ${winner.name}: ${usdText(winner.usd)} a month, p95 ${secondsText(winner.p95_s)}.`
      : wrong ? "Give numbers above 0. Without a p95 or a budget, there is no limit." : "No option meets these requirements.";
    at("explore-form").dataset.winner = winner ? winner.name : "";
    draw(options, winner, p95_s, budget_usd);
    list(options, winner, p95_s, budget_usd);
  };

  const show = (values) => {
    volume.value = values.volume;
    p95.value = values.p95_s ?? "";
    budget.value = values.budget_usd ?? "";
    decide();
  };

  step.max = grid.volumes.length - 1;
  step.disabled = grid.volumes.length === 1;
  volume.disabled = grid.volumes.length === 1;
  step.addEventListener("input", () => { volume.value = grid.volumes[step.value]; decide(); });
  for (const field of [volume, p95, budget]) field.addEventListener("input", decide);
  window.addEventListener("resize", decide);
  at("explore-form").addEventListener("submit", (event) => event.preventDefault());
  at("explore-form").hidden = false;
  show(grid);
})();
