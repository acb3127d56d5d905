import { Refused, ask, element, onSubmit, say } from "/pages/page.js";

let asked;

onSubmit(element("ask"), async (given) => {
  const email = given.get("email").trim();
  const sent = await ask("POST", "/v1/auth/password/forgot", { email });
  asked = { email, challenge: sent.challenge };
  element("reset").hidden = false;
  element("code").focus();
  return () => say("sent");
});

onSubmit(element("reset"), async (given) => {
  const body = { ...asked, code: given.get("code").trim(), password: given.get("password") };
  try {
    await ask("POST", "/v1/auth/password/reset", body, given.get("tenant") ? { "X-Tenant-ID": given.get("tenant") } : {});
  } catch (error) {
    if (error instanceof Refused && error.code === "choose_tenant") offer(error.problem.tenants);
    throw error;
  }
  element("ask").hidden = element("reset").hidden = element("lead").hidden = true;
  return () => say("reset");
});

function offer(tenants) {
  element("tenant").replaceChildren(...tenants.map((one) => new Option(one.name, one.slug)));
  element("tenant-field").hidden = false;
}
