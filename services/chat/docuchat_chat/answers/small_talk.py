"""Small talk: greetings, thanks, farewells and questions about the assistant, which are answered without a document.

Only a text that consists of such phrases is small talk; one word besides, and it is a question like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from docuchat_chat.answers.setup import Setup
from docuchat_knowledge.folding import fold

Kind = Literal["greeting", "thanks", "farewell", "identity", "abilities"]
Spoken = Literal["en", "fa", "de", "ar", "fr", "es"]

_PRODUCT: Final = "DocuChat"
_WORD: Final = re.compile(r"\w+")
_BEGINNING: Final = re.compile(r"(?P<first>[^,.!،؛;–]{1,60})[,.!،؛;–]+\s*(?P<rest>\S.*)", re.DOTALL)
_LONGEST: Final = 120
"""Characters of small talk."""
_ORDER: Final[tuple[Kind, ...]] = ("abilities", "identity", "farewell", "thanks", "greeting")
"""Of several kinds in one text the first of these is answered."""

_PHRASES: Final[dict[tuple[Kind, Spoken], str]] = {
    ("greeting", "en"): (
        "hello | hi | hey | heya | hiya | howdy | greetings | good morning | good afternoon | good evening | "
        "good day | how are you | how are you doing | how are you today | how do you do | how is it going | "
        "how s it going | what s up | whats up | nice to meet you | welcome back"
    ),
    ("greeting", "de"): (
        "hallo | guten morgen | guten tag | guten abend | servus | moin | moin moin | grüß gott | grüss gott | "
        "grüß dich | grüezi | wie geht es dir | wie geht s | wie gehts | wie geht es ihnen"
    ),
    ("greeting", "fa"): (
        "سلام | درود | سلام علیک | صبح بخیر | صبح به خیر | ظهر بخیر | عصر بخیر | شب بخیر | وقت بخیر | روز بخیر | "
        "حال شما چطوره | حال شما چطور است | حالت چطوره | حالت چطور است | حالتون چطوره | خوبی | خوبید | "
        "خوب هستید | چطوری | چه خبر | خسته نباشید | روزتون بخیر | وقتتون بخیر | salam"
    ),
    ("greeting", "ar"): (
        "مرحبا | أهلا | أهلا وسهلا | أهلا وسهلا بك | السلام عليكم | السلام عليكم ورحمة الله | "
        "السلام عليكم ورحمة الله وبركاته | سلام عليكم | صباح الخير | مساء الخير | كيف حالك | كيف الحال | هلا | "
        "مرحبا بك"
    ),
    ("greeting", "fr"): ("bonjour | bonsoir | salut | coucou | comment ça va | ça va | comment allez vous"),
    ("greeting", "es"): (
        "hola | buenos días | buenos dias | buenas tardes | buenas noches | qué tal | que tal | cómo estás"
    ),
    ("thanks", "en"): (
        "thanks | thank you | thx | ty | cheers | many thanks | much appreciated | appreciate it | "
        "i appreciate it | thanks a lot | thanks a million | thank you very much | thank you so much | "
        "thanks so much | thanks very much | that helped | that helped a lot | that helps | this helped | "
        "that was helpful | that is helpful | very helpful | that was very helpful | great answer | perfect | "
        "awesome | well done | good job | great job"
    ),
    ("thanks", "de"): (
        "danke | danke dir | danke ihnen | danke schön | dankeschön | danke sehr | vielen dank | besten dank | "
        "herzlichen dank | tausend dank | merci vielmals | das hat geholfen | das hat mir geholfen | "
        "das war hilfreich | sehr hilfreich | super danke | gut gemacht"
    ),
    ("thanks", "fa"): (
        "ممنون | ممنونم | ممنون از شما | متشکرم | متشکر | مرسی | سپاس | سپاسگزارم | سپاس گزارم | تشکر | "
        "با تشکر | خیلی ممنون | خیلی متشکرم | دستت درد نکنه | دستتون درد نکنه | دست شما درد نکند | "
        "خیلی خوب بود | عالی بود | خوب بود | مفید بود | خیلی مفید بود | لطف کردید | لطف کردی"
    ),
    ("thanks", "ar"): (
        "شكرا | شكرا لك | شكرا جزيلا | شكرا كثيرا | شكرا جزيلا لك | ألف شكر | أشكرك | مشكور | جزاك الله خيرا | تسلم"
    ),
    ("thanks", "fr"): ("merci | merci beaucoup | merci bien | mille mercis"),
    ("thanks", "es"): ("gracias | muchas gracias | mil gracias | muchísimas gracias"),
    ("farewell", "en"): (
        "bye | bye bye | goodbye | good bye | see you | see you later | see you soon | see ya | farewell | "
        "take care | have a nice day | have a good day | have a great day | good night | talk to you later | "
        "until next time"
    ),
    ("farewell", "de"): (
        "tschüss | tschüß | tschau | auf wiedersehen | bis bald | bis später | bis dann | bis morgen | "
        "gute nacht | schönen tag | schönen tag noch | schönen abend | schönen abend noch | mach s gut | "
        "mach es gut"
    ),
    ("farewell", "fa"): (
        "خداحافظ | خدا حافظ | خدانگهدار | خدا نگهدار | بدرود | به امید دیدار | تا بعد | فعلا | روز خوش | "
        "شب خوش | روز خوبی داشته باشید"
    ),
    ("farewell", "ar"): ("مع السلامة | إلى اللقاء | وداعا | في أمان الله | تصبح على خير | باي"),
    ("farewell", "fr"): ("au revoir | à bientôt | à plus tard | bonne journée | bonne soirée | bonne nuit | adieu"),
    ("farewell", "es"): ("adiós | adios | hasta luego | hasta pronto | hasta mañana | nos vemos"),
    ("identity", "en"): (
        "who are you | what are you | what is your name | what s your name | whats your name | are you a bot | "
        "are you a robot | are you human | are you a human | are you an ai | who am i talking to | "
        "who made you | introduce yourself"
    ),
    ("identity", "de"): (
        "wer bist du | was bist du | wer sind sie | wie heißt du | wie heisst du | wie heißen sie | "
        "bist du ein bot | bist du ein mensch | wie ist dein name | mit wem spreche ich | stell dich vor"
    ),
    ("identity", "fa"): (
        "تو کی هستی | تو کیستی | شما کی هستید | شما کیستید | کی هستی | کیستی | اسمت چیه | اسمت چیست | "
        "اسم تو چیست | اسم شما چیست | نامت چیست | نام تو چیست | نام شما چیست | تو چی هستی | تو ربات هستی | "
        "خودت رو معرفی کن | خودت را معرفی کن"
    ),
    ("identity", "ar"): ("من أنت | من انت | من تكون | ما اسمك | ما هو اسمك | هل أنت روبوت | عرف بنفسك"),
    ("identity", "fr"): ("qui es tu | qui êtes vous | comment tu t appelles | comment vous appelez vous"),
    ("identity", "es"): ("quién eres | quien eres | cómo te llamas | como te llamas"),
    ("abilities", "en"): (
        "what can you do | what can you help me with | what can you help with | how can you help me | "
        "how can you help | what do you do | what can i ask you | what can i ask | how do you work | "
        "can you help me | what are you able to do | what can you do for me"
    ),
    ("abilities", "de"): (
        "was kannst du | was können sie | was kannst du alles | was kann ich dich fragen | was kann ich fragen | "
        "wie kannst du mir helfen | wobei kannst du helfen | wobei kannst du mir helfen | kannst du mir helfen | "
        "was machst du | wie funktionierst du | was kannst du für mich tun | können sie mir helfen"
    ),
    ("abilities", "fa"): (
        "چه کار می‌کنی | چه کاری می‌کنی | چکار می‌کنی | چه کار می‌توانی بکنی | چه کاری می‌توانی انجام دهی | "
        "چه کارهایی می‌توانی انجام دهی | چه کارهایی بلدی | چی بلدی | چه کمکی می‌توانی بکنی | "
        "چه کمکی از دستت برمی‌آید | می‌توانی کمکم کنی | می‌تونی کمکم کنی | چه می‌توانم بپرسم | "
        "از تو چه می‌توانم بپرسم"
    ),
    ("abilities", "ar"): (
        "ماذا يمكنك أن تفعل | ماذا تستطيع أن تفعل | كيف يمكنك مساعدتي | كيف تساعدني | ماذا تفعل | "
        "بماذا يمكنك مساعدتي | هل يمكنك مساعدتي"
    ),
    ("abilities", "fr"): ("que peux tu faire | que pouvez vous faire | que sais tu faire | pouvez vous m aider"),
    ("abilities", "es"): ("qué puedes hacer | que puedes hacer | cómo puedes ayudarme | puedes ayudarme"),
}
_ALONGSIDE: Final = (
    "there | again | everyone | everybody | all | friend | my friend | bot | chatbot | assistant | sir | madam | "
    "team | dear | so much | very much | a lot | indeed | really | ok | okay | great | super | cool | nice | "
    "wow | oh | well | and | you | too | for your help | for the help | for the answer | for that | for now | "
    "now | then | please | alle | zusammen | du | sehr | nochmal | eigentlich | so | gut | toll | prima | und | "
    "für die hilfe | für deine hilfe | denn | noch | جان | عزیز | عزیزم | دوست من | دوست عزیز | خیلی | "
    "خیلی خوب | بسیار | واقعا | عالی | خوب | خب | باشه | لطفا | بابت کمکت | از کمکتون | از راهنمایی شما | "
    "از لطف شما | از کمکت | از کمک شما | یا صديقي | جزيلا | كثيرا | لك | حسنا | رائع | على المساعدة | و | "
    "à tous | beaucoup | bien | mucho | amigo"
)
"""What may stand beside such phrases and is none by itself."""

_REPLIES: Final[dict[Kind, dict[Spoken, str]]] = {
    "greeting": {
        "en": "Hello! What would you like to know from the documents?",
        "fa": "سلام! درباره‌ی سندها چه می‌خواهید بدانید؟",
        "de": "Hallo! Was möchten Sie aus den Dokumenten wissen?",
        "ar": "مرحبًا! ماذا تريد أن تعرف من المستندات؟",
        "fr": "Bonjour ! Que voulez-vous savoir des documents ?",
        "es": "¡Hola! ¿Qué quiere saber de los documentos?",
    },
    "thanks": {
        "en": "You are welcome!",
        "fa": "خواهش می‌کنم!",
        "de": "Gern geschehen!",
        "ar": "على الرحب والسعة!",
        "fr": "Je vous en prie !",
        "es": "¡De nada!",
    },
    "farewell": {
        "en": "Goodbye!",
        "fa": "خداحافظ!",
        "de": "Auf Wiedersehen!",
        "ar": "مع السلامة!",
        "fr": "Au revoir !",
        "es": "¡Hasta luego!",
    },
    "identity": {
        "en": "I am {name}. I answer questions from the documents and show where each answer stands.",
        "fa": "من {name} هستم. به پرسش‌ها از روی سندها پاسخ می‌دهم و نشان می‌دهم که هر پاسخ کجا آمده است.",
        "de": "Ich bin {name}. Ich beantworte Fragen aus den Dokumenten und zeige, wo die Antwort steht.",
        "ar": "أنا {name}. أجيب عن الأسئلة من المستندات وأبيّن موضع كل إجابة.",
        "fr": "Je suis {name}. Je réponds aux questions à partir des documents et je montre où se trouve chaque "
        "réponse.",
        "es": "Soy {name}. Respondo a preguntas a partir de los documentos y muestro dónde está cada respuesta.",
    },
    "abilities": {
        "en": "Ask me about the documents: for a fact, a definition, a list or a summary. I say where each answer "
        "stands.",
        "fa": "درباره‌ی سندها بپرسید: یک نکته، یک تعریف، یک فهرست یا یک خلاصه. می‌گویم که هر پاسخ کجا آمده است.",
        "de": "Fragen Sie mich nach den Dokumenten: nach einer Angabe, einer Definition, einer Liste oder einer "
        "Zusammenfassung. Ich sage, wo die Antwort steht.",
        "ar": "اسألني عن المستندات: عن معلومة أو تعريف أو قائمة أو ملخص. أذكر موضع كل إجابة.",
        "fr": "Interrogez-moi sur les documents : un fait, une définition, une liste ou un résumé. Je dis où se trouve "
        "chaque réponse.",
        "es": "Pregúnteme por los documentos: un dato, una definición, una lista o un resumen. Digo dónde está cada "
        "respuesta.",
    },
}


@dataclass(frozen=True, slots=True)
class Remark:
    """A text that needs no document."""

    kind: Kind
    language: Spoken


def _split(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(fold(text)))


_REMARKS: Final = {
    _split(phrase): Remark(kind, language)
    for (kind, language), phrases in _PHRASES.items()
    for phrase in phrases.split(" | ")
}
_BESIDE: Final = frozenset(_split(phrase) for phrase in _ALONGSIDE.split(" | "))
_MOST_WORDS: Final = max(map(len, (*_REMARKS, *_BESIDE)))


def remark_in(text: str) -> Remark | None:
    """Return what a text says that is nothing but small talk; None when there is anything else in it."""
    if len(text) > _LONGEST:
        return None
    found = list(_remarks(_split(text)))
    if None in found:
        return None
    remarks = [each for each in found if isinstance(each, Remark)]
    return min(remarks, key=lambda remark: _ORDER.index(remark.kind), default=None)


def without_remarks(text: str) -> str:
    """Return a text without the small talk that it begins with: “and in 2023?” of “thanks, and in 2023?”."""
    while (begun := _BEGINNING.match(text)) is not None and remark_in(begun["first"]) is not None:
        text = begun["rest"]
    return text


def _remarks(found: tuple[str, ...]) -> Iterator[Remark | Literal["beside"] | None]:
    """Yield what each phrase is, the longest that fits first; None ends it: a word that belongs to none."""
    place = 0
    while place < len(found):
        for length in range(min(_MOST_WORDS, len(found) - place), 0, -1):
            phrase = found[place : place + length]
            if phrase in _REMARKS or phrase in _BESIDE:
                yield _REMARKS.get(phrase, "beside")
                place += length
                break
        else:
            yield None
            return


def reply_to(remark: Remark, setup: Setup) -> str:
    """Return the answer: in the language of the remark, unless the chatbot always speaks another."""
    if remark.kind == "greeting" and setup.greeting:
        return setup.greeting
    return _REPLIES[remark.kind][setup.language or remark.language].format(name=setup.name or _PRODUCT)
