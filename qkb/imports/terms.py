"""Words that reading lists use: for links, for venues, for how a work was presented."""

from __future__ import annotations


def _set(text: str) -> frozenset[str]:
    """Return the words and phrases between commas."""
    return frozenset(" ".join(word.split()) for word in text.split(","))


# What the link to an implementation is called.
CODE = _set(
    """code, codes, github, git, repo, repository, implementation, official, torch, pytorch, tensorflow, tf, keras,
    caffe, caffe2, mxnet, theano, torch7, chainer, jax, paddle, mindspore, matlab, c++, cuda, gitlab, source,
    codebase, star, stars, official code, unofficial code, source code, official implementation, github code,
    third-party code"""
)
FRAMEWORKS = _set("pytorch, tensorflow, keras, caffe, mxnet, theano, torch7, chainer, jax")
# What the link to the work itself is called.
PAPER = _set(
    """paper, papers, pdf, arxiv, link, links, url, doi, abs, abstract, html, openreview, ieee, acm, cvf, springer,
    here, download, fulltext, publication, preprint, article, proceedings, acl, pmlr, sciencedirect, 论文, 논문,
    paper link, pdf link, arxiv paper, full text, original paper, arxiv link, paper & code, open access"""
)
# What other links are called.
OTHER = _set(
    """slides, slide, video, videos, poster, blog, project, page, website, webpage, homepage, site, demo, bibtex, bib,
    supp, supplementary, appendix, data, dataset, datasets, model, models, weights, checkpoint, zhihu, talk,
    review, reviews, news, docs, doc, documentation, tutorial, colab, notebook, notes, note, cite, citation,
    twitter, tweet, youtube, presentation, benchmark, huggingface, hf, modelscope, leaderboard, tool, api, wiki,
    top, back, 中文, 知乎, 博客, 解读, project page, blog post, top ↑, back to top, hugging face, semantic scholar,
    google scholar"""
)
PUBLISHERS = _set("ieee, acm, springer, elsevier, pmlr, curran associates, aaai press, wiley, mdpi")
# How a work was presented, which is no part of the venue's name.
FORMS = _set(
    """oral, spotlight, poster, best, best paper, best paper award, highlight, workshop, findings, long paper, preprint,
    accepted, to appear, under review, survey, review, award, outstanding paper, new, pdf"""
)
# Short names of venues.
VENUES = _set(
    """aaai, accv, acl, acmmm, aistats, arxiv, asap, aspdac, asplos, bmvc, cal, cases, cc, cgo, cicc, cikm, coling,
    colm, conll, corl, corr, cvpr, cvprw, cvpr-w, dac, date, eacl, eccv, eccvw, eccv-w, ecai, ecml, emnlp,
    eurosys, fccm, fpga, fpl, fpt, glsvlsi, hpca, hotchips, icann, icassp, iccad, iccd, iccv, iccvw, icdm, icip,
    icl, iclr, iclrw, icml, icmlw, icpr, icra, icslp, ijcai, ijcnn, ijcv, interspeech, iros, isca, iscas, isit,
    islped, ismir, isscc, iswc, itsc, jetcas, jmlr, jssc, kdd, lrec, miccai, micro, mlsys, mm, naacl, nature,
    neurips, neuripsw, neurocomputing, nips, nipsw, nsdi, osdi, pami, pmlr, ppopp, pr, prl, sc, sensys, sigcomm,
    siggraph, sigir, slt, sosp, sysml, taco, tacl, tacd, tc, tcad, tcas, tcasi, tcasii, tcsvt, tcyb, tecs, tip,
    tist, tmm, tmlr, tnn, tnnls, tog, tpami, tpds, trets, tsp, tvlsi, uai, usenix, vldb, vlsi, vlsi-soc, wacv,
    www"""
)
# Words that do not tell one title from another.
SMALL = _set(
    "a, an, the, of, for, and, in, on, to, with, via, by, using, from, at, as, its, is, are, towards, toward, through"
)
