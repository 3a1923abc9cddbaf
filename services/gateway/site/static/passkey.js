// Asks the browser to make a passkey or to sign in with one, and sends the result with the form. Without this script the page offers codes.
"use strict";
(() => {
  // A passkey belongs to a host name: a browser makes none for an IP address.
  if (!window.PublicKeyCredential || /^[\d.]+$|:/.test(location.hostname)) return;
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const read = (json) => {  // does what parseCreationOptionsFromJSON does, which older browsers do not have
    const options = JSON.parse(json);
    options.challenge = bytes(options.challenge);
    if (options.user) options.user.id = bytes(options.user.id);
    for (const list of [options.allowCredentials, options.excludeCredentials]) for (const one of list || []) one.id = bytes(one.id);
    return options;
  };
  const serialized = (credential) => {
    const response = {};
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (credential.response[name]) response[name] = text(credential.response[name]);
    }
    return JSON.stringify({ id: credential.id, rawId: text(credential.rawId), type: credential.type, response, clientExtensionResults: {} });
  };
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    for (const instead of document.querySelectorAll("[data-no-passkey]")) instead.hidden = true;
    const method = form.dataset.passkey, failed = form.querySelector("[role=alert]");
    if (method === "offer") continue;
    const ask = async (isClick) => {
      try {
        const options = { publicKey: read(form.dataset.options) };
        form.elements.passkey.value = serialized(await navigator.credentials[method](options));
        form.submit();
      } catch {
        if (isClick) { failed.hidden = false; failed.scrollIntoView({ block: "nearest" }); }
      }
    };
    form.addEventListener("submit", (event) => { event.preventDefault(); failed.hidden = true; ask(true); });
    // Some browsers require a click first: then the button is there. A page that shows an error waits for a click, too: otherwise it would ask and be refused for ever.
    if (!document.querySelector("[role=alert]:not([hidden])")) ask(false);
  }
})();
