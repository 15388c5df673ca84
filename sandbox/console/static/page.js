// What htmx does not do by itself: bring the view up to date, keep what a person has opened or typed, follow a log.
(() => {
  const kept = (node) => node.nodeType === 1 && node.hasAttribute("data-keep");
  Idiomorph.defaults.ignoreActiveValue = true;
  Idiomorph.defaults.callbacks.beforeNodeMorphed = (old, fresh) => !(kept(old) && kept(fresh));
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) => !(name === "open" && node.tagName === "DETAILS");

  const live = document.getElementById("live");
  const say = (text, state) => { live.textContent = text; live.className = `live ${state}`; };
  const log = () => document.querySelector("#view .log");
  let follow = true;

  document.addEventListener("scroll", (event) => {
    if (event.target === log()) follow = event.target.scrollHeight - event.target.scrollTop - event.target.clientHeight < 24;
  }, true);
  const toEnd = () => { const box = log(); if (box && follow) box.scrollTop = box.scrollHeight; };
  toEnd();

  const view = document.getElementById("view");
  let source = null;
  const listen = () => {
    source = new EventSource(view.dataset.stream);
    source.addEventListener("open", () => say("live", "good"));
    source.addEventListener("error", () => say("the sandbox does not answer", "bad"));
    source.addEventListener("view", (event) => {
      Idiomorph.morph(view, event.data, { morphStyle: "innerHTML" });
      htmx.process(view);
      toEnd();
    });
  };
  // A browser opens six connections to one server: a tab that nobody sees gives its own back.
  document.addEventListener("visibilitychange", () => {
    if (source) source.close();
    source = null;
    if (!document.hidden && view.dataset.stream) listen();
  });
  if (!document.hidden && view.dataset.stream) listen();
  document.body.addEventListener("htmx:sendError", () => say("the sandbox does not answer", "bad"));

  // What is said of a click goes away by itself, unless something was refused.
  document.body.addEventListener("htmx:afterSwap", (event) => {
    const said = event.target.id === "outcome" && event.target.querySelector(".outcome.good");
    if (said) setTimeout(() => said.remove(), 8000);
  });
})();
