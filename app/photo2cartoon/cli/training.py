"""The commands of training: `prepare-data`, `train`, `evaluate` and `convert`.

All but the first need torch, and import it when they are called: the rest of the command line does
without.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TaskID

from photo2cartoon.cli.prepare import Kind, Prepared, Split, plan, prepare
from photo2cartoon.cli.terminal import count_up, err, load_pipeline, out, read_settings
from photo2cartoon.ground.machine import available_cores


def prepare_data(
    photos: Annotated[Path, typer.Argument(help="Folder of photos.", exists=True, file_okay=False)],
    out_folder: Annotated[Path, typer.Argument(metavar="OUT", file_okay=False)],
    cartoons: Annotated[
        Path | None, typer.Option(help="Folder of drawings.", exists=True, file_okay=False)
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Folder of pairs, photo left.", exists=True, file_okay=False),
    ] = None,
    test_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the photos kept for testing, by name.")
    ] = 0.05,
    test_cartoons: Annotated[int, typer.Option(min=0, help="Last drawings by name, kept.")] = 0,
    test_pairs: Annotated[int, typer.Option(min=0, help="Last pairs by name, kept.")] = 0,
    holdout: Annotated[
        Path | None, typer.Option(help="File of names kept for testing.", exists=True)
    ] = None,
    size: Annotated[int, typer.Option(min=0, help="Side of a photo's square, px; 0: 256.")] = 0,
    jobs: Annotated[int, typer.Option(min=0, help="Threads; 0: one a core.")] = 0,
    again: Annotated[bool, typer.Option("--again", help="Do also what is done.")] = False,
) -> None:
    """Turn photos, drawings and pairs into training data; call again to go on where it stopped.

    Exit code: 0 done (skipped.csv lists what had no face), 2 the call itself was wrong, 130 stopped
    by Ctrl-C.
    """
    folders: dict[Kind, Path] = {"A": photos}
    folders |= {"B": cartoons} if cartoons else {}
    folders |= {"P": pairs} if pairs else {}
    names = holdout.read_text(encoding="utf-8").split("\n") if holdout else []
    kept = frozenset(name.strip() for name in names if name.strip())
    items = plan(folders, out_folder, Split(test_share, test_cartoons, test_pairs, kept))
    if not items:
        raise typer.BadParameter("there is no picture in it", param_hint="PHOTOS")
    settings = read_settings()
    pipeline = load_pipeline(settings)
    pipeline.drawer.size = size or pipeline.drawer.size
    threads = pipeline.lanes(jobs or settings.threads or available_cores())
    work = prepare(pipeline, items, out_folder, threads=threads, again=again)
    results: list[Prepared] = []
    try:
        with count_up() as progress:
            bar = progress.add_task("pictures", total=len(items))
            for result in work:
                results.append(result)
                progress.advance(bar)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    finally:
        work.close()
        counts = Counter(result.status for result in results)
        words = ", ".join(f"{counts[status]} {status}" for status in ("done", "there", "skipped"))
        out.print(f"{words}; {out_folder}", markup=False)


def train(context: typer.Context) -> None:
    """Train a generator of your own; `train --help` lists its options. Needs torch."""
    try:  # only here: serving and the rest of the command line do without torch
        from photo2cartoon_models.train import main as run_training  # noqa: PLC0415
    except ModuleNotFoundError as error:
        err.print(f"train needs {error.name}: CONTRIBUTING.md says how to install it")
        raise typer.Exit(2) from error
    raise typer.Exit(run_training(context.args))


def evaluate(
    model: Annotated[Path, typer.Argument(help="A generator, ONNX.")],
    photos: Annotated[Path, typer.Argument(help="Folder of prepared photos, 256 px.")],
    cartoons: Annotated[Path, typer.Option(help="Folder of held-out drawings.")],
    output: Annotated[Path, typer.Option("--out", help="Folder for the report.")],
    pairs: Annotated[
        Path | None, typer.Option(help="Folder of prepared photos, a cartoon to the right of each.")
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="CSV: which photo belongs to which group of people.")
    ] = None,
    identity: Annotated[
        Path | None, typer.Option(help="Face recognition network: .onnx, .tflite or npm's .tgz.")
    ] = None,
) -> None:
    """Measure a generator: nearness to the style, likeness, by group. Needs torch.

    Exit code: 0 measured, 2 something given is not what it has to be, or torch is missing.
    """
    try:
        from photo2cartoon_models.evaluation import evaluate as evaluation  # noqa: PLC0415
        from photo2cartoon_models.evaluation.pictures import EvaluationError  # noqa: PLC0415
        from photo2cartoon_models.readers.weights_error import WeightsError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        err.print(f"evaluate needs {error.name}: install torch, then photo2cartoon\\[train]")
        raise typer.Exit(2) from error
    request = evaluation.Request(model, photos, cartoons, output, pairs, groups, identity)
    try:
        with count_up() as bar:
            tasks: dict[str, TaskID] = {}

            def progress(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(what, total=total)
                bar.update(tasks[what], completed=done)

            evaluation.evaluate(request, progress)
    except (EvaluationError, WeightsError) as error:
        err.print(str(error), markup=False)
        raise typer.Exit(2) from error
    out.print(str(output / "report.html"), markup=False)


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Weights: .pt, .onnx, .pdparams.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.onnx")],
    net: Annotated[str, typer.Option(help="Which of several networks.")] = "genA2B",
    size: Annotated[int, typer.Option(help="Side of the pictures, px.")] = 256,
    optimize: Annotated[bool, typer.Option(help="Rewrite the network for speed.")] = True,
    pixels: Annotated[bool, typer.Option("--pixels", help="uint8 RGBA in, uint8 RGB out.")] = False,
    half: Annotated[bool, typer.Option("--half", help="float16 convolutions, for GPUs.")] = False,
    name: Annotated[str, typer.Option(help="Metadata; default: name of OUT.")] = "",
    licence: Annotated[str, typer.Option(help="Metadata.")] = "not stated",
    origin: Annotated[str, typer.Option(help="Metadata: where the weights are from.")] = "",
) -> None:
    """Turn weights that you have into one ONNX file. Needs torch.

    Exit code: 0 converted, 2 refused or torch is missing.
    """
    try:  # only here: serving and the rest of the command line do without torch
        from photo2cartoon_models.conversion import convert as conversion  # noqa: PLC0415
        from photo2cartoon_models.readers.weights_error import WeightsError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        err.print(f"convert needs {error.name}: install torch, then photo2cartoon\\[train]")
        raise typer.Exit(2) from error
    provenance = conversion.Provenance(name or target.stem, origin or "not stated", licence)
    try:
        form = conversion.choose_form(optimize, pixels, half)
        done = conversion.convert(source, target, provenance, net=net, side=size, form=form)
    except WeightsError as error:
        err.print(f"{source}: {error}", markup=False)
        raise typer.Exit(2) from error
    out.print(conversion.report(done, target), markup=False)
