import subprocess
import sys

HEAVY = ("numpy", "pgvector", "tiktoken", "tokenizers", "openai", "wordllama")
GATEWAYS = (
    "collections.repository", "documents.repository", "documents.passages", "jobs.claims", "jobs.reembedding",
)  # fmt: skip


def test_a_document_is_registered_without_numbers_or_a_tokenizer():
    """What the gateway imports of models and knowledge, in a process of its own."""
    modules = [f"docuchat_knowledge.{name}" for name in GATEWAYS] + ["docuchat_models.throttle"]
    script = f"import sys, {', '.join(modules)}\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    seen = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"
