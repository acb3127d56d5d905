"""What is said when there is nothing to answer from; no model is asked for these."""

from __future__ import annotations

from docuchat_chat.answers.domain import Library
from docuchat_chat.answers.setup import Setup, language_for
from docuchat_chat.answers.text import Language, language_of

_EMPTY: dict[Language, str] = {
    "en": "There are no documents to answer from yet. Upload a document first.",
    "fa": "هنوز سندی برای پاسخ‌گویی وجود ندارد. ابتدا یک سند بارگذاری کنید.",
    "de": "Es gibt noch keine Dokumente, aus denen ich antworten kann. Laden Sie zuerst ein Dokument hoch.",
    "ar": "لا توجد مستندات للإجابة منها بعد. ارفع مستندًا أولًا.",
}
_PROCESSING: dict[Language, str] = {
    "en": "No document is ready yet: {n} still being processed. Ask again when it is ready.",
    "fa": "هنوز هیچ سندی آماده نیست: {n} سند در حال پردازش است. پس از آماده شدن دوباره بپرسید.",
    "de": "Noch ist kein Dokument bereit: {n} in Verarbeitung. Fragen Sie erneut, sobald es bereit ist.",
    "ar": "لا يوجد مستند جاهز بعد: عدد المستندات قيد المعالجة {n}. أعد السؤال عندما تصبح جاهزة.",
}
_FAILED: dict[Language, str] = {
    "en": "No document could be read: processing of {n} failed. See the reason on the document.",
    "fa": "هیچ سندی خوانده نشد: پردازش {n} سند ناموفق بود. علت روی سند آمده است.",
    "de": "Kein Dokument konnte gelesen werden: {n} sind fehlgeschlagen. Der Grund steht am Dokument.",
    "ar": "تعذّرت قراءة أي مستند: فشلت معالجة {n}. السبب مذكور في المستند.",
}
_NOTHING: dict[Language, str] = {
    "en": "I found nothing about this in the documents.",
    "fa": "در سندها چیزی درباره‌ی این پرسش پیدا نکردم.",
    "de": "In den Dokumenten habe ich dazu nichts gefunden.",
    "ar": "لم أجد شيئًا عن هذا في المستندات.",
}
_STILL: dict[Language, str] = {
    "en": " ({n} still being processed.)",
    "fa": " ({n} سند هنوز در حال پردازش است.)",
    "de": " ({n} noch in Verarbeitung.)",
    "ar": " (عدد المستندات قيد المعالجة {n}.)",
}
_OUTDATED: dict[Language, str] = {
    "en": "{n} documents were embedded with another model and are found by words alone until embedded again.",
    "fa": "{n} سند با مدل دیگری بردار شده‌اند و تا بردارسازی دوباره فقط از روی واژه‌ها پیدا می‌شوند.",
    "de": "{n} Dokumente sind mit einem anderen Modell eingebettet und werden bis zur neuen "
    "Einbettung nur nach Wörtern gefunden.",
    "ar": "تم تضمين {n} من المستندات بنموذج آخر، ولا يُعثر عليها إلا بالكلمات.",
}


_REFUSED: dict[Language, str] = {
    "en": "I cannot help with this subject.",
    "fa": "در این موضوع نمی‌توانم کمک کنم.",
    "de": "Zu diesem Thema kann ich nicht helfen.",
    "ar": "لا أستطيع المساعدة في هذا الموضوع.",
}
_OWN_KNOWLEDGE: dict[Language, str] = {
    "en": "From no document: the model's own knowledge.",
    "fa": "از هیچ سندی نیست: دانش خود مدل.",
    "de": "Aus keinem Dokument: eigenes Wissen des Modells.",
    "ar": "ليس من أي مستند: معرفة النموذج نفسه.",
}
_LINK_REMOVED: dict[Language, str] = {
    "en": "link removed",
    "fa": "پیوند حذف شد",
    "de": "Link entfernt",
    "ar": "حُذف الرابط",
}
_CUT: dict[Language, str] = {
    "en": "The answer ends here: it began to repeat instructions that are not part of the documents.",
    "fa": "پاسخ اینجا پایان می‌یابد: تکرار دستورهایی آغاز شد که جزو سندها نیستند.",
    "de": "Die Antwort endet hier: Sie begann, Anweisungen zu wiederholen, die nicht aus den Dokumenten stammen.",
    "ar": "تنتهي الإجابة هنا: بدأت بتكرار تعليمات ليست من المستندات.",
}


def outdated_notice(question: str, outdated: int) -> str | None:
    """Return what to tell of documents that only words find; None when there are none."""
    return _OUTDATED[language_of(question)].format(n=outdated) if outdated else None


def notice(question: str, library: Library, setup: Setup) -> str:
    """Return the answer for a question to which no passage was found.

    Who asks a chatbot has no documents to upload and none to look after: such a one only says that nothing was found,
    or that documents are not ready.
    """
    language = language_for(setup, question)
    is_chatbot = setup.chatbot_id is not None
    if library.ready or (is_chatbot and not library.processing):
        text = nothing_found(setup, question)
        return text + _STILL[language].format(n=library.processing) if library.processing else text
    if library.processing:
        return _PROCESSING[language].format(n=library.processing)
    return _FAILED[language].format(n=library.failed) if library.failed else _EMPTY[language]


def nothing_found(setup: Setup, question: str) -> str:
    """Return what is said when the documents say nothing about a question."""
    return setup.nothing_found or _NOTHING[language_for(setup, question)]


def subject_refused(setup: Setup, question: str) -> str:
    """Return what is said to a question about a subject that is not talked about."""
    return _REFUSED[language_for(setup, question)]


def own_knowledge(setup: Setup, question: str) -> str:
    """Return what the mark of the model's own knowledge means."""
    return _OWN_KNOWLEDGE[language_for(setup, question)]


def link_removed(setup: Setup, question: str) -> str:
    """Return what is said in place of an address that stands in no source."""
    return _LINK_REMOVED[language_for(setup, question)]


def cut(setup: Setup, question: str) -> str:
    """Return what is said where an answer ends because it repeats its instructions."""
    return _CUT[language_for(setup, question)]
