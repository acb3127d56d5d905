"""Codes may be typed with the digits of any keyboard."""

import pytest
from pydantic import ValidationError

from docuchat_auth.codes.schemas import CodeVerifyBody
from docuchat_auth.logins.schemas import LoginBody
from docuchat_auth.passwords.schemas import PasswordReset
from docuchat_auth.registrations.schemas import VerificationBody
from docuchat_auth.second_factors.schemas import TotpConfirmation

ANN = {"email": "ann@example.com"}


@pytest.mark.parametrize("typed", ["358119", "۳۵۸۱۱۹", "٣٥٨١١٩"])
def test_a_code_is_the_same_in_persian_and_arabic_digits(typed: str) -> None:
    new = {"password": "a long enough one"}
    assert CodeVerifyBody.model_validate({**ANN, "code": typed, "otp": typed}).code == "358119"
    assert PasswordReset.model_validate({**ANN, **new, "code": typed}).code == "358119"
    assert VerificationBody.model_validate({"code": typed}).code == "358119"
    assert LoginBody.model_validate({**ANN, **new, "otp": typed}).otp == "358119"
    assert TotpConfirmation.model_validate({"otp": typed}).otp == "358119"


def test_other_letters_are_no_digits() -> None:
    with pytest.raises(ValidationError):
        CodeVerifyBody.model_validate({**ANN, "code": "３５８１１９"})
