// Moves the secret of the link from the address, which the browser's history stores, into the form. Links to other languages keep the secret.
"use strict";
(() => {
  const field = document.getElementById("token");
  const secret = location.hash.slice(1);
  if (!field) return;
  if (/^[\w-]{20,200}$/.test(secret)) {
    field.value = secret;
    history.replaceState(null, "", location.pathname + location.search);
  }
  for (const link of document.querySelectorAll("a[hreflang]")) link.hash = field.value;
  if (field.value && !document.getElementById("problem")) field.closest(".field").hidden = true;
})();
