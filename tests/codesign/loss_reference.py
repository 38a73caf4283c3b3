"""The losses in plain loops over Python floats: slow, and near to the equations.

A request is a dict: scores (a list for each stage), label, grade, weight, one entry for each valid candidate. ``at`` are
the scores at which what passes no gradient (column sums, ranks, teachers) is taken; by default the scores themselves.
"""

import math

EPSILON = 1e-6


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def softmax(logits):
    top = max(logits)
    parts = [math.exp(x - top) for x in logits]
    return [part / sum(parts) for part in parts]


def mean(values):
    return sum(values) / len(values) if values else 0.0


def neural_sort(s, tau):
    n = len(s)
    spread = [sum(abs(a - b) for b in s) for a in s]
    return [softmax([((n + 1 - 2 * r) * s[j] - spread[j]) / tau for j in range(n)]) for r in range(1, n + 1)]


def soft_sort(s, tau):
    return [softmax([-abs(top - x) / tau for x in s]) for top in sorted(s, reverse=True)]


def survival(s, at, quota, tau, relaxation):
    """A list of (kept, cut)."""
    n = len(s)
    if n <= quota:
        return [(1.0, 0.0)] * n
    if relaxation == "soft_cut":
        ordered = sorted(s, reverse=True)
        threshold = (ordered[quota - 1] + ordered[quota]) / 2
        return [(sigmoid((x - threshold) / tau), sigmoid((threshold - x) / tau)) for x in s]
    sort = neural_sort if relaxation == "neural_sort" else soft_sort
    p, frozen = sort(s, tau), sort(at, tau)
    result = []
    for j in range(n):
        column = sum(frozen[r][j] for r in range(n))
        result.append((sum(p[r][j] for r in range(quota)) / column, sum(p[r][j] for r in range(quota, n)) / column))
    return result


def entropy(survivals, label):
    costs = []
    for j, wanted in enumerate(label):
        kept, passed = 1.0, 1.0
        for stage in survivals:
            kept *= stage[j][0]
            passed *= 1 - stage[j][1]
        costs.append(-math.log(kept + EPSILON) if wanted else -math.log(1 - passed + EPSILON))
    return mean(costs)


def weighed(terms, log):
    """Terms that are None say nothing."""
    return sum(term * math.exp(-2 * w) / 2 + w for term, w in zip(terms, log, strict=True) if term is not None)


def mean_or_none(values):
    return mean(values) if values else None


def lcron(requests, at, quotas, log, tau, relaxation="neural_sort", single=True):
    survivals = [
        [survival(s, a, q, tau, relaxation) for s, a, q in zip(one["scores"], base, quotas, strict=True)]
        for one, base in zip(requests, at, strict=True)
    ]
    pairs = list(zip(requests, survivals, strict=True))
    loss = mean([entropy(s, one["label"]) for one, s in pairs if len(one["label"]) > min(quotas)])
    if not single:
        return loss
    terms = [
        mean_or_none([entropy([s[i]], one["label"]) for one, s in pairs if len(one["label"]) > quotas[i]])
        for i in range(len(quotas))
    ]
    return loss + weighed(terms, log)


def levels(one):
    top = max(one["grade"], default=0) + 1
    return [top if wanted else grade for wanted, grade in zip(one["label"], one["grade"], strict=True)]


def arf(requests, at, quotas, log, tau, v2):
    terms = []
    for i, quota in enumerate(quotas):
        recalls, orders = [], []
        for one, base in zip(requests, at, strict=True):
            s, label, n = one["scores"][i], one["label"], len(one["label"])
            p = neural_sort(s, tau) if n else []
            if v2 and n > quota:
                recalls.append(entropy([survival(s, base[i], quota, tau, "neural_sort")], label))
            if not v2 and n > quota and any(label):
                logs = [math.log(sum(p[r][j] for r in range(quota)) / quota + EPSILON) for j in range(n) if label[j]]
                recalls.append(-mean(logs))
            if n > 1:
                level = levels(one)
                ordered = sorted(level, reverse=True)
                cost = 0.0
                for r in range(n):
                    alike = [j for j in range(n) if level[j] == ordered[r]]
                    cost -= mean([math.log(p[r][j] + EPSILON) for j in alike]) / n
                orders.append(cost)
        terms += [mean_or_none(recalls), mean_or_none(orders)]
    return weighed(terms, log)


def rankflow(requests, at, quotas, alpha):
    stages, total = len(quotas), 0.0
    inputs = [list(range(len(one["label"]))) for one in requests]
    for i, quota in enumerate(quotas):
        cost = weight = 0.0
        for one, inside in zip(requests, inputs, strict=True):
            for j in inside:
                s = one["scores"][i][j]
                cost += one["weight"][j] * (softplus(-s) if one["label"][j] else softplus(s))
                weight += one["weight"][j]
        total += cost / weight if weight else 0.0
        inputs = [
            [j for j in inside if sum(base[i][k] > base[i][j] for k in inside) < quota]
            for base, inside in zip(at, inputs, strict=True)
        ]
    for i in range(stages - 1):
        errors, tops = [], []
        for one, base in zip(requests, at, strict=True):
            student, teacher, n = one["scores"][i], base[i + 1], len(one["label"])
            errors += [(sigmoid(teacher[j]) - sigmoid(student[j])) ** 2 for j in range(n)]
            above = [sum(teacher[k] > teacher[j] for k in range(n)) for j in range(n)]
            best = [student[j] for j in range(n) if above[j] < quotas[-1]]
            rest = [student[j] for j in range(n) if above[j] >= (n + 1) // 2]
            if best and rest:
                tops.append(softplus(mean(rest) - mean(best)))
        total += (1 - alpha) * mean(errors) + alpha * mean(tops)
    return total


def ranknet(requests, stages):
    total = 0.0
    for i in range(stages):
        costs = []
        for one in requests:
            s, level = one["scores"][i], levels(one)
            of_levels = []
            for wanted in set(level):
                pairs = [
                    softplus(s[k] - s[j])
                    for j in range(len(s))
                    for k in range(len(s))
                    if level[j] == wanted and level[k] < wanted
                ]
                if pairs:
                    of_levels.append(mean(pairs))
            if of_levels:
                costs.append(sum(of_levels))
        total += mean(costs)
    return total


def lambdaloss(requests, at, quotas, mu):
    total = 0.0
    for i, quota in enumerate(quotas):
        costs = []
        for one, base in zip(requests, at, strict=True):
            s, level, n = one["scores"][i], levels(one), len(one["label"])
            if len(set(level)) < 2:
                continue
            rank = [
                sum(base[i][k] > base[i][j] for k in range(n)) + (sum(x == base[i][j] for x in base[i]) + 1) / 2
                for j in range(n)
            ]
            gains = sorted(level, reverse=True)[:quota]
            ideal = sum(gain / math.log2(1 + r) for r, gain in enumerate(gains, start=1))
            cost = 0.0
            for j in range(n):
                for k in range(n):
                    if level[j] > level[k] and min(rank[j], rank[k]) <= quota:
                        apart = max(abs(rank[j] - rank[k]), 1)
                        rho = abs(1 / math.log2(1 + rank[j]) - 1 / math.log2(1 + rank[k]))
                        delta = 1 / math.log2(1 + apart) - 1 / math.log2(2 + apart)
                        cost += (rho + mu * delta) * (level[j] - level[k]) * softplus(s[k] - s[j]) / math.log(2)
            costs.append(cost / ideal)
        total += mean(costs)
    return total


def icc(requests, quotas, tau):
    costs, stages = [], len(quotas)
    for one in requests:
        n, whole = len(one["label"]), []
        for j in range(n):
            reach, value = 1.0, 0.0
            for i, quota in enumerate(quotas):
                s = one["scores"][i]
                inside = sigmoid((s[j] - sorted(s, reverse=True)[min(quota, n) - 1]) / tau)
                value += reach * s[j] * (inside if i == stages - 1 else 1 - inside)
                reach *= inside
            whole.append(value)
        label = one["label"]
        pairs = [softplus(whole[k] - whole[j]) for j in range(n) for k in range(n) if label[j] and not label[k]]
        if pairs:
            costs.append(mean(pairs))
    return mean(costs)
