"""The texts of the layer debugger's page in Korean: English text -> Korean text."""

from __future__ import annotations

TEXTS: dict[str, str] = {
    "What the worst layers of {row} lose in integers": "{row}에서 정수화 손실이 가장 큰 층",
    "The output keeps {output} dB of signal to noise; {layer} does most of the harm": (
        "출력의 신호 대 잡음비 {output} dB, 손실이 가장 큰 층: {layer}"
    ),
    (
        "The three worst of {count} layers make {share} % of the noise that reaches the output. Of the {worst} worst, "
        "{weights} lose most by their weights, the others by the range of what they write."
    ): (
        "{count}개 층 중 손실이 가장 큰 세 층이 출력에 이르는 잡음의 {share}%를 만듦. 손실이 큰 "
        "{worst}개 층 중 {weights}개는 가중치, 나머지는 출력 범위에서 가장 많이 잃음."
    ),
    "The worst layers": "손실이 가장 큰 층",
    "output if only this layer is quantised": "이 층만 양자화할 때의 출력",
    "only its weights": "가중치만",
    "only what it writes": "층의 출력만",
    "gain if kept in float": "FP32로 두면 얻는 값",
    "clipped": "잘린 값",
    "no error": "오차 없음",
    (
        "SQNR: power of the float network's values over the power of the errors, in decibels. 20 dB more are a "
        "tenth of the error. Over {images} images."
    ): (
        "SQNR: FP32 신경망 값의 전력을 오차의 전력으로 나눈 값(dB). 20 dB 높으면 오차가 10분의 1임. "
        "영상 {images}장으로 잼."
    ),
    (
        "Output if only this layer is quantised: the float network in which nothing but this layer's weights, or "
        "nothing but what it writes, is rounded as in the quantised file. The noises of all layers add up to that "
        "of the whole file, nearly."
    ): (
        "이 층만 양자화할 때의 출력: FP32 신경망에서 이 층의 가중치만, 또는 이 층의 출력만 양자화된 파일과 같이 "
        "반올림한 결과임. 모든 층의 잡음을 더하면 파일 전체의 잡음에 가까움."
    ),
    (
        "As run: the layer's values in the quantised file, with the errors of all layers before it. By itself: its "
        "values if the layers before it were exact."
    ): "실행 그대로: 앞선 모든 층의 오차가 쌓인, 양자화된 파일의 값. 층 자체: 앞선 층이 정확할 때의 값.",
    (
        "If kept in float: by how much the score ({metric}) of the quantised file grows if this layer stays "
        "in float32. A layer whose output range does the harm gains little by itself: the layers that read it "
        "take int8, and must be kept with it."
    ): (
        "FP32로 두면 얻는 값: 이 층을 FP32로 둘 때 양자화된 파일의 점수({metric})가 오르는 폭. 출력 범위에서 "
        "손실이 생기는 층은 혼자서는 거의 얻지 못함: 그 출력을 읽는 층이 int8을 받으므로 함께 두어야 함."
    ),
    "output SQNR, dB": "출력 SQNR, dB",
    "What the codes are spent on": "코드의 쓰임",
    "codes in use": "쓰이는 코드",
    "codes that are never used": "전혀 쓰이지 않는 코드",
    "values that are clipped": "잘리는 값",
    "weights": "가중치",
    "output": "출력",
    "codes": "코드",
    "value": "값",
    "weight": "가중치",
    "channels": "채널",
    "code (each channel has a scale of its own)": "코드(채널마다 다른 척도)",
    (
        "{share} % of the {codes} codes are never used: a channel's weights reach {typical} of them on average, those "
        "of the narrowest channel {least}."
    ): (
        "코드 {codes}개 중 {share}%는 전혀 쓰이지 않음: 한 채널의 가중치는 평균 {typical}개, "
        "가장 좁은 채널은 {least}개에 걸침."
    ),
    "All channels share one scale.": "모든 채널이 한 척도를 씀.",
    "All {codes} codes are in use, from {low} to {high}.": "코드 {codes}개를 모두 씀({low} ~ {high}).",
    (
        "{share} % of the {codes} codes are never used: they reach from {low} to {high}, the values from {least} "
        "to {most}."
    ): "코드 {codes}개 중 {share}%는 전혀 쓰이지 않음: 코드 범위 {low} ~ {high}, 값의 범위 {least} ~ {most}.",
    "What lies outside is clipped.": "범위 밖의 값은 잘림.",
    "Every layer, from the image to the output": "입력에서 출력까지 모든 층",
    "SQNR as run": "실행 그대로의 SQNR",
    "SQNR by itself": "층 자체의 SQNR",
    "In the other colour: the layers that do most harm to the output.": "다른 색: 출력에 가장 큰 손실을 주는 층.",
    "All figures of every layer": "모든 층의 수치",
    "only this layer": "이 층만",
    "as run": "실행 그대로",
    "by itself": "층 자체",
    "cosine": "코사인",
    "mean error": "평균 오차",
    "values": "값의 범위",
    "what the codes hold": "코드의 범위",
    "step": "간격",
    "How the file was made": "파일을 만든 방법",
}
