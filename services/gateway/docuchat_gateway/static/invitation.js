import { ask, element, onSubmit, say } from "/pages/page.js";

// behind the #, which no browser sends to a server; out of the address bar before anybody looks over a shoulder
const mailed = new URLSearchParams(location.hash.slice(1)).get("token");
if (mailed) {
  element("token").value = mailed;
  element("token-field").hidden = true;
  history.replaceState(null, "", location.pathname + location.search);
}

onSubmit(element("accept"), async (given) => {
  const body = { token: given.get("token").trim() };
  for (const name of ["name", "password"]) if (given.get(name).trim()) body[name] = given.get(name);
  let tokens;
  try {
    tokens = await ask("POST", "/v1/invitations/accept", body);
  } catch (error) {
    // a link may have been cut on its way: the code can be mended by hand
    if (["invalid_invitation", "invalid_input"].includes(error.code)) element("token-field").hidden = false;
    throw error;
  }
  element("accept").hidden = element("lead").hidden = true;
  const headers = { Authorization: `Bearer ${tokens.access_token}` };
  const me = await ask("GET", "/v1/users/me", undefined, headers);
  // nothing is done here with the sign-in, so it does not stay
  await ask("POST", "/v1/auth/logout", { refresh_token: tokens.refresh_token }, headers);
  return () => say("joined", me.email, me.tenant.name);
});
