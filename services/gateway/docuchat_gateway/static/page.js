// What the pages share: their words in two languages, and one way to ask the service.

const words = {
  en: {
    invitationTitle: "You are invited to DocuChat",
    invitationLead:
      "Say how you want to be called, and choose a password if you like. Without one you sign in with codes that are mailed to you.",
    token: "Code of the mail",
    name: "Your name (optional)",
    passwordOptional: "Password (optional, at least 8 characters)",
    join: "Join",
    joined: (who, where) => `${who} is a member of ${where} now. You can close this page, and sign in where you use DocuChat.`,
    resetTitle: "A new password for DocuChat",
    resetLead:
      "A code is mailed to your address. With it you set a new password; wherever you are signed in, that ends.",
    email: "Your e-mail address",
    send: "Send a code",
    sent: "If there is an account with this address, a code was mailed to it. It is good for ten minutes.",
    code: "The six digits of the mail",
    newPassword: "New password (at least 8 characters)",
    tenant: "You are in several organizations. Which one?",
    set: "Set the password",
    reset: "The new password is set. You can close this page, and sign in with it.",
    unreachable: "The service cannot be reached. Try again in a moment.",
    other: "فارسی",
    problems: {},
  },
  fa: {
    invitationTitle: "به DocuChat دعوت شده‌اید",
    invitationLead:
      "بگویید چه نامیده شوید و اگر بخواهید گذرواژه‌ای برگزینید. بدون گذرواژه، با کدی که به شما ایمیل می‌شود وارد می‌شوید.",
    token: "کد درون ایمیل",
    name: "نام شما (اختیاری)",
    passwordOptional: "گذرواژه (اختیاری، دست‌کم ۸ نویسه)",
    join: "پیوستن",
    joined: (who, where) => `${who} اکنون عضو ${where} است. می‌توانید این صفحه را ببندید و در برنامه‌ی خود وارد شوید.`,
    resetTitle: "گذرواژه‌ی تازه برای DocuChat",
    resetLead: "کدی به نشانی شما ایمیل می‌شود. با آن گذرواژه‌ی تازه می‌گذارید و همه‌ی ورودهای شما پایان می‌یابد.",
    email: "نشانی ایمیل شما",
    send: "فرستادن کد",
    sent: "اگر حسابی با این نشانی باشد، کدی به آن ایمیل شد. کد ده دقیقه اعتبار دارد.",
    code: "شش رقم درون ایمیل",
    newPassword: "گذرواژه‌ی تازه (دست‌کم ۸ نویسه)",
    tenant: "شما در چند سازمان هستید. کدام یک؟",
    set: "گذاشتن گذرواژه",
    reset: "گذرواژه‌ی تازه گذاشته شد. می‌توانید این صفحه را ببندید و با آن وارد شوید.",
    unreachable: "سامانه در دسترس نیست. اندکی بعد دوباره بکوشید.",
    other: "English",
    problems: {
      invalid_invitation: "این دعوت نادرست است، پس گرفته شده، پذیرفته شده یا زمانش گذشته است. دعوتی تازه بخواهید.",
      already_member: "با این نشانی حسابی هست؛ با آن وارد شوید.",
      password_too_weak: "این گذرواژه به‌آسانی حدس زده می‌شود. گذرواژه‌ای بلندتر برگزینید؛ چند واژه‌ی نامربوط خوب است.",
      passwords_busy: "سامانه سرگرم است. اندکی بعد دوباره بکوشید.",
      too_many_attempts: "بارهای بسیار کوشیده شده است. کمی بعد دوباره بکوشید.",
      mail_backlog: "ایمیل‌ها در صف‌اند. اندکی بعد دوباره بکوشید.",
      invalid_code: "کد نادرست، کهنه یا به‌کاررفته است. کدی تازه بخواهید.",
      invalid_input: "آنچه نوشته‌اید درست نیست؛ دوباره بررسی کنید.",
    },
  },
};

const wanted = new URLSearchParams(location.search).get("lang") ?? navigator.language;
let language = wanted.toLowerCase().startsWith("fa") ? "fa" : "en";

export const element = (id) => document.getElementById(id);
export const say = (key, ...given) =>
  typeof words[language][key] === "function" ? words[language][key](...given) : words[language][key];

// what is told at present, by the element that shows it: said anew in the other language
const nothing = () => "";
const tells = { problem: nothing, outcome: nothing };

function tell(id, told) {
  tells[id] = told;
  element(id).textContent = told();
}

function show() {
  document.documentElement.lang = language;
  document.documentElement.dir = language === "fa" ? "rtl" : "ltr";
  for (const one of document.querySelectorAll("[data-text]")) one.textContent = say(one.dataset.text);
  element("language").textContent = say("other");
  element("language").lang = language === "fa" ? "en" : "fa";
  for (const [id, told] of Object.entries(tells)) element(id).textContent = told();
}

element("language").addEventListener("click", () => {
  language = language === "fa" ? "en" : "fa";
  show();
});
show();

/** Why the service refused, in words. */
export class Refused extends Error {
  constructor(problem) {
    super(problem.code);
    this.code = problem.code;
    this.problem = problem;
  }

  said() {
    return words[language].problems[this.code] ?? this.problem.detail ?? say("unreachable");
  }
}

/** The decoded answer of the service, null when it is empty. Throws Refused. */
export async function ask(method, path, body, headers = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      credentials: "omit",
      cache: "no-store",
      headers: body === undefined ? headers : { ...headers, "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Refused({});
  }
  const answer = response.status === 204 ? null : await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(answer ?? {});
  return answer;
}

/** Run `act` when the form is sent, once at a time; what the function says that it returns is shown, and why it failed. */
export function onSubmit(form, act) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    tell("problem", nothing);
    tell("outcome", nothing);
    try {
      tell("outcome", await act(new FormData(form)));
    } catch (error) {
      tell("problem", () => (error instanceof Refused ? error.said() : say("unreachable")));
    } finally {
      button.disabled = false;
    }
  });
}
