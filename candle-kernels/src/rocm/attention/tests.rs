//! Plans, and that the kernels are built as they say.
use super::*;

const CARD: Card<'_> = Card {
    target: "gfx1100",
    wave_size: 32,
    compute_units: 48,
};

fn problem() -> Problem {
    let strides = Strides::default();
    Problem {
        batches: 1,
        key_heads: 8,
        group: 4,
        queries: 1,
        keys: 1000,
        width: 128,
        value_width: 128,
        element_bytes: 2,
        q: strides,
        k: strides,
        v: strides,
        mask: strides,
        mask_key: 0,
        causal: false,
        scale: 0.125,
        softcapping: 1.0,
        past: 0,
    }
}

#[test]
fn args_have_the_kernels_layout() {
    assert_eq!(std::mem::size_of::<Args>(), 13 * 8 + 12 * 4 + 2 * 4 + 2 * 8);
    assert_eq!(std::mem::align_of::<Args>(), 8);
}

/// Eight key heads do not fill 48 compute units: each context is cut, into pieces that cover it without overlap.
#[test]
fn decoding_splits_the_context() {
    let plan = problem().plan(&CARD).unwrap();
    assert_eq!((plan.prefix, plan.suffix), ("attention_rows", "2_4"));
    assert_eq!((plan.args.splits, plan.args.split_keys), (8, 128));
    assert_eq!(plan.grid, [8, 8, 1]);
    assert_eq!(plan.partials, 32 * 8 * 130);
    let many = Problem {
        batches: 64,
        ..problem()
    };
    assert_eq!(many.plan(&CARD).unwrap().args.splits, 1);
}

#[test]
fn many_rows_take_the_matrix_cores_where_there_are_any() {
    let prompt = Problem {
        queries: 512,
        ..problem()
    };
    let plan = prompt.plan(&CARD).unwrap();
    assert_eq!((plan.prefix, plan.suffix), ("attention_tiles", "128"));
    assert_eq!((plan.grid, plan.block), ([256, 1, 1], [128, 1, 1]));
    for card in ["gfx1030", "sm_90", "gfx906"].map(|target| Card { target, ..CARD }) {
        let plan = prompt.plan(&card).unwrap();
        assert_eq!((plan.prefix, plan.suffix), ("attention_fma", "128"));
        assert_eq!((plan.grid, plan.block), ([256, 1, 1], [128, 1, 1]));
        // 16 units a workgroup: `attention_rows`, 32 rows in workgroups whose warps have rows of their own.
        let few = Problem {
            key_heads: 1,
            queries: 64,
            ..prompt
        };
        let plan = few.plan(&card).unwrap();
        assert_eq!((plan.prefix, plan.suffix), ("attention_rows", "2_4"));
    }
    let exact = Problem {
        element_bytes: 4,
        ..prompt
    };
    // 32 tiles of 64 rows for each of 8 key heads; a head's 16 rows are too few for one.
    let plan = exact.plan(&CARD).unwrap();
    assert_eq!((plan.prefix, plan.suffix), ("attention_fma", "128"));
    assert_eq!((plan.grid, plan.block), ([256, 1, 1], [128, 1, 1]));
    let few = Problem {
        queries: 4,
        ..exact
    };
    assert_eq!(few.plan(&CARD).unwrap().suffix, "4_2");
    let wide = Problem {
        value_width: 130,
        ..exact
    };
    let plan = wide.plan(&CARD).unwrap();
    assert_eq!((plan.suffix, plan.args.tile_rows), ("256", 32));
}

/// What host and device share stands in both languages.
#[test]
fn constants_agree_with_fma_hip() {
    let source = include_str!("../../hip/attention/fma.hip");
    assert!(source.contains(&format!("constexpr unsigned THREADS = {FMA_THREADS};")));
    assert!(source.contains("ROWS = WIDTH > 128 ? 32 : 64;"));
    for (width, name, rows) in FMA_KERNELS {
        assert!(
            source.contains(&format!("FMA_KERNEL(T, NAME, {name})")),
            "{name}"
        );
        assert_eq!(rows, if width > 128 { 32 } else { 64 });
    }
}

/// Only CDNA multiplies matrices of f32.
#[test]
fn many_rows_of_f32_take_the_matrix_cores_of_cdna() {
    let prompt = Problem {
        queries: 512,
        element_bytes: 4,
        ..problem()
    };
    // As HIP names cards; MI350, which runs generic code objects.
    for (target, tiles) in [
        ("gfx90a:sramecc+:xnack-", true),
        ("gfx942", true),
        ("gfx950:sramecc+:xnack-", true),
        ("gfx1100", false),
    ] {
        let card = Card {
            target,
            wave_size: 64,
            compute_units: 104,
        };
        let plan = prompt.plan(&card).unwrap();
        assert_eq!(plan.module == Module::Tiles, tiles, "{target}");
        if tiles {
            assert_eq!((plan.prefix, plan.suffix), ("attention_tiles", "128"));
            assert_eq!((plan.grid, plan.block), ([256, 1, 1], [256, 1, 1]));
        }
    }
}

/// Of decoding and whole segments, but for a context in one piece on matrix cores.
#[test]
fn results_in_int8() {
    let leaves = |problem: Problem| problem.plan(&CARD).unwrap().leaves_int8();
    assert!(leaves(problem()));
    let short = Problem {
        keys: 100,
        ..problem()
    };
    assert!(leaves(short));
    let of_tiles = Problem { group: 8, ..short };
    assert!(!leaves(of_tiles));
    assert!(leaves(Problem {
        keys: 1000,
        ..of_tiles
    }));
    assert!(!leaves(Problem {
        queries: 2,
        ..problem()
    }));
    assert!(!leaves(Problem {
        value_width: 80,
        ..problem()
    }));
}

#[test]
fn heads_that_are_too_wide_are_named() {
    let wide = Problem {
        width: 576,
        value_width: 512,
        ..problem()
    };
    let error = wide.plan(&CARD).unwrap_err().to_string();
    assert!(
        error.contains("576") && error.contains("512 of this type"),
        "{error}"
    );
}
