// Before anything is painted: the theme that was chosen here, if one was. Without a choice the system's counts.
"use strict";
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("barnraise-theme");
  } catch {
    chosen = null; // storage may be forbidden
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
