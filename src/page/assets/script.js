"use strict";
(() => {
  const hour = 3600000;
  let tip;
  const show = (bar, x, day) => {
    const days = decode(bar.dataset.days);
    day = Math.max(0, Math.min(days.length - 1, day));
    bar.dataset.at = day;
    if (!tip) {
      tip = document.createElement("div");
      tip.id = "tip";
      tip.setAttribute("role", "status");
      document.body.append(tip);
    }
    const [success, failure, unchecked, planned] = days[day];
    const at = new Date(Date.parse(bar.dataset.from + "T00:00:00Z") + day * 24 * hour);
    const lines = [at.toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" })];
    const verdicts = success + failure, scheduled = verdicts + unchecked;
    if (scheduled + planned === 0) lines.push("nothing was scheduled");
    if (verdicts > 0) lines.push(floor(success, verdicts) + " up" + (failure ? ", " + failure + " of " + verdicts + " failed" : ""));
    if (scheduled > 0) lines.push(floor(verdicts, scheduled) + " checked" + (unchecked ? ", " + unchecked + " of " + scheduled + " not" : ""));
    if (planned > 0) lines.push(planned + " in maintenance");
    const text = lines.join("\n");
    if (tip.textContent !== text) tip.textContent = text;
    const box = bar.getBoundingClientRect();
    const left = x === undefined ? box.left + ((day + 0.5) / days.length) * box.width : x;
    tip.hidden = false;
    const width = tip.offsetWidth;
    tip.style.setProperty("left", scrollX + Math.max(4, Math.min(left - width / 2, innerWidth - width - 4)) + "px");
    tip.style.setProperty("top", scrollY + box.bottom + 6 + "px");
  };
  const floor = (part, whole) => {
    const value = Math.floor((part / whole) * 10000 + 1e-6);
    return value >= 10000 ? "100 %" : (value / 100).toFixed(2) + " %";
  };
  const decode = (text) => {
    const days = [];
    for (const part of text.split(",")) {
      const [counts, times] = part.split("*");
      const day = counts.split(".").map(Number);
      while (day.length < 4) day.push(0);
      for (let i = 0; i < (times || 1); i++) days.push(day);
    }
    return days;
  };
  const hide = () => { if (tip) tip.hidden = true; };
  const bar = (event) => event.target.closest && event.target.closest("svg.bar");
  addEventListener("pointermove", (event) => {
    const over = bar(event);
    if (!over) return document.activeElement && document.activeElement.matches("svg.bar:focus-visible") ? 0 : hide();
    const box = over.getBoundingClientRect();
    show(over, event.clientX, Math.floor(((event.clientX - box.left) / box.width) * decode(over.dataset.days).length));
  });
  addEventListener("focusin", (event) => { const over = bar(event); if (over && over.matches(":focus-visible")) show(over, undefined, Number(over.dataset.at || 1e9)); else hide(); });
  addEventListener("focusout", hide);
  addEventListener("keydown", (event) => {
    const over = bar(event);
    if (event.key === "Escape") return hide();
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -7, PageDown: 7, Home: -1e9, End: 1e9 }[event.key];
    if (!over || !step) return;
    event.preventDefault();
    show(over, undefined, Number(over.dataset.at || 0) + step);
  });

  // Refreshes in place. What somebody has opened stays open, what has the focus keeps it.
  const every = Number(document.body.dataset.every);
  let waiting = false;
  const refresh = async () => {
    const typing = document.activeElement && document.activeElement.matches("input,select");
    if (document.hidden || typing || waiting) return;
    waiting = true;
    try {
      const answer = await fetch(location.href, { cache: "no-cache", headers: { accept: "text/html" } });
      if (!answer.ok) throw new Error(answer.status);
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const id of ["main", "asof"]) {
        const old = document.getElementById(id), now = next.getElementById(id);
        if (!old || !now || old.innerHTML === now.innerHTML) continue;
        const open = new Set([...old.querySelectorAll("details[open][id]")].map((it) => it.id));
        const focus = old.contains(document.activeElement) ? document.activeElement.closest("[id]") : null;
        for (const it of now.querySelectorAll("details[id]")) it.open = it.open || open.has(it.id);
        old.replaceChildren(...[...now.childNodes].map((it) => document.importNode(it, true)));
        const again = focus && focus !== old && document.getElementById(focus.id);
        if (again) again.focus({ preventScroll: true });
      }
      document.title = next.title;
      document.body.classList.remove("cut");
    } catch {
      document.body.classList.add("cut");
    }
    waiting = false;
  };
  if (every > 0) setInterval(refresh, every * 1000);
  document.addEventListener("visibilitychange", refresh);
})();
