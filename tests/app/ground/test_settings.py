"""A wrong setting stops the start."""

import pytest
from pydantic import ValidationError

from photo2cartoon.ground.origins import explain
from photo2cartoon.ground.settings import Settings, unknown_variables


def test_defaults() -> None:
    settings = Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2C_PORT", "9001")
    monkeypatch.setenv("p2c_host", "0.0.0.0")
    settings = Settings()
    assert (settings.host, settings.port) == ("0.0.0.0", 9001)


@pytest.mark.parametrize("name", ["P2C_PROT", "P2C_STYLE", "p2c_max_pixel"])
def test_a_misspelt_name_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ValidationError, match=name):
        Settings()


def test_a_misspelt_name_is_told_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2C_PROT", "1")
    monkeypatch.setenv("P2C_THREAD", "1")
    with pytest.raises(ValidationError) as refusal:
        Settings()
    (line,) = explain(refusal.value)
    assert line.endswith(
        ": P2C_PROT (did you mean P2C_PORT?), P2C_THREAD (did you mean P2C_THREADS?)"
    )


def test_variables_of_other_programs_stop_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["P2C_", "P2C_SERVICE_HOST", "P2C_URL", "P2C_ZZZZZ"]
    for name in names:
        monkeypatch.setenv(name, "1")
    assert Settings() == Settings.model_construct()
    assert unknown_variables() == names


def test_a_wrong_item_of_a_list_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2C_CORS_ORIGINS", "https://a.example,b")
    with pytest.raises(ValidationError) as refusal:
        Settings()
    (line,) = explain(refusal.value)
    assert line.startswith("P2C_CORS_ORIGINS: item 2: ")


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Settings()
    for name in Settings.model_fields:
        monkeypatch.setenv(f"P2C_{name.upper()}", "")
    monkeypatch.setenv("P2C_NOTHING", "")
    assert Settings() == plain


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("P2C_PORT", "eighty"),
        ("P2C_PORT", "65536"),
        ("P2C_MAX_PIXELS", "0"),
        ("P2C_THREADS", "-1"),
        ("P2C_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_every_number_can_be_set_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Settings().model_dump()
    for name, value in plain.items():
        if value is not None:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            monkeypatch.setenv(f"P2C_{name.upper()}", text)
    monkeypatch.setenv("P2C_MAX_BATCH", "16")
    assert Settings().model_dump() == plain | {"max_batch": 16}
    monkeypatch.setenv("P2C_MAX_BATCH", "3")
    with pytest.raises(ValueError, match="max_batch"):
        Settings()


@pytest.mark.parametrize(
    ("text", "expected"), [("900Mi", 900 * 2**20), ("2G", 2_000_000_000), ("123456", 123456)]
)
def test_memory_is_written_as_kubernetes_does(
    text: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P2C_MEMORY_BUDGET", text)
    assert Settings().memory_budget == expected


@pytest.mark.parametrize("text", ["0", "-1Mi", "900MB", "much"])
def test_memory_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2C_MEMORY_BUDGET", text)
    with pytest.raises(ValidationError, match="memory_budget"):
        Settings()
