"""A scikit-learn pipeline for a table: breast cancer, 569 real cases of 30 measurements."""

from __future__ import annotations

from serving import arguments, report, serve
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import headrace


def main() -> None:
    options = arguments(__doc__)
    data = load_breast_cancer()
    train_x, x, train_y, y = train_test_split(data.data, data.target, test_size=0.3, random_state=0)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.5)).fit(train_x, train_y)
    report("breast cancer, scikit-learn", accuracy=pipeline.score(x, y))
    headrace.package(
        pipeline, options.folder, example_inputs=x, labels=[str(name) for name in data.target_names]
    )
    serve(options, {"x": x[0].tolist()})


if __name__ == "__main__":
    main()
