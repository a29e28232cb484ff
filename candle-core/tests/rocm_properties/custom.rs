//! Operations of the user's own: `rocm_fwd` launches a kernel on the tensors' memory, whatever their layout.
use crate::cases::{property, rocm};
use crate::nearness::{identical, rounded, wide};
use crate::views::{filled_dims, view, Content, View};
use candle_core::backend::BackendStorage;
use candle_core::rocm_backend::hip::{KernelArgs, Launch};
use candle_core::rocm_backend::kernels;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, InplaceOp1, InplaceOp2, InplaceOp3, Layout,
    Result, RocmStorage, Shape, Tensor,
};

fn unused<T>() -> Result<T> {
    candle_core::bail!("only the device is asked here")
}

/// Launches `op_f32` or, for a selection, `where_u8_f32` over one layout for each operand.
fn launch(
    (module, op, a, b): (&kernels::Module, &'static str, &'static str, &'static str),
    operands: &[(&RocmStorage, &Layout)],
    out: &RocmStorage,
) -> Result<()> {
    let count = operands[0].1.shape().elem_count();
    if count == 0 {
        return Ok(());
    }
    let layouts: Vec<&Layout> = operands.iter().map(|(_, l)| *l).collect();
    let mut launch = out.device().launch(module, op, a, b)?;
    launch = launch.arg(count).layouts(&layouts)?;
    for (storage, layout) in operands {
        launch = launch.arg(storage.ptr(layout));
    }
    // SAFETY: the kernels read `count` elements of each operand by its layout and write as many to `out`.
    unsafe { launch.arg(out.ptr_at(0)).over(count).run() }
}

/// The square, the sum of two, the choice between two.
struct Square;
struct Sum;
struct Choice;

impl CustomOp1 for Square {
    fn name(&self) -> &'static str {
        "square"
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        unused()
    }
    fn rocm_fwd(&self, x: &RocmStorage, l: &Layout) -> Result<(RocmStorage, Shape)> {
        let out = RocmStorage::uninit(x.device(), l.shape().elem_count(), x.dtype())?;
        launch((&kernels::UNARY, "usqr", "f32", ""), &[(x, l)], &out)?;
        Ok((out, l.shape().clone()))
    }
}

impl CustomOp2 for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }
    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        unused()
    }
    fn rocm_fwd(
        &self,
        a: &RocmStorage,
        a_l: &Layout,
        b: &RocmStorage,
        b_l: &Layout,
    ) -> Result<(RocmStorage, Shape)> {
        let out = RocmStorage::uninit(a.device(), a_l.shape().elem_count(), a.dtype())?;
        launch(
            (&kernels::BINARY, "badd", "f32", ""),
            &[(a, a_l), (b, b_l)],
            &out,
        )?;
        Ok((out, a_l.shape().clone()))
    }
}

impl CustomOp3 for Choice {
    fn name(&self) -> &'static str {
        "choice"
    }
    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        unused()
    }
    fn rocm_fwd(
        &self,
        condition: &RocmStorage,
        condition_l: &Layout,
        yes: &RocmStorage,
        yes_l: &Layout,
        no: &RocmStorage,
        no_l: &Layout,
    ) -> Result<(RocmStorage, Shape)> {
        let out = RocmStorage::uninit(yes.device(), yes_l.shape().elem_count(), yes.dtype())?;
        let operands = [(condition, condition_l), (yes, yes_l), (no, no_l)];
        launch((&kernels::TERNARY, "where", "u8", "f32"), &operands, &out)?;
        Ok((out, yes_l.shape().clone()))
    }
}

/// In place the result overwrites the first operand, which is contiguous and starts its storage in these tests. (It is
/// not empty: candle takes the strides of an empty tensor for a broadcast and refuses to write.)
impl InplaceOp1 for Square {
    fn name(&self) -> &'static str {
        "square"
    }
    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> Result<()> {
        unused()
    }
    fn rocm_fwd(&self, x: &mut RocmStorage, l: &Layout) -> Result<()> {
        launch((&kernels::UNARY, "usqr", "f32", ""), &[(x, l)], x)
    }
}

impl InplaceOp2 for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }
    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<()> {
        unused()
    }
    fn rocm_fwd(
        &self,
        a: &mut RocmStorage,
        a_l: &Layout,
        b: &RocmStorage,
        b_l: &Layout,
    ) -> Result<()> {
        launch(
            (&kernels::BINARY, "badd", "f32", ""),
            &[(a, a_l), (b, b_l)],
            a,
        )
    }
}

/// The first operand becomes the product of the other two.
struct ProductOf;

impl InplaceOp3 for ProductOf {
    fn name(&self) -> &'static str {
        "product-of"
    }
    fn cpu_fwd(
        &self,
        _: &mut CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<()> {
        unused()
    }
    fn rocm_fwd(
        &self,
        out: &mut RocmStorage,
        _: &Layout,
        a: &RocmStorage,
        a_l: &Layout,
        b: &RocmStorage,
        b_l: &Layout,
    ) -> Result<()> {
        launch(
            (&kernels::BINARY, "bmul", "f32", ""),
            &[(a, a_l), (b, b_l)],
            out,
        )
    }
}

const NUMBERS: Content = Content::Between(-4.0, 4.0);

fn here_and_there(view: View, dims: &[usize]) -> Result<(Tensor, Tensor)> {
    let here = view.tensor(dims, DType::F32, NUMBERS)?;
    let there = here.to_device(&rocm()?)?;
    Ok((here, there))
}

#[test]
fn one_operand() {
    property((filled_dims(0..=4), view()), |(dims, view)| {
        let (here, there) = here_and_there(view, &dims)?;
        identical(&there.apply_op1_no_bwd(&Square)?, &here.sqr()?)?;
        let own = there.force_contiguous()?;
        own.inplace_op1(&Square)?;
        identical(&own, &here.sqr()?)
    });
}

#[test]
fn two_operands() {
    property(
        (filled_dims(0..=4), view(), view()),
        |(dims, first, second)| {
            let ((a, a_there), (b, b_there)) = (
                here_and_there(first, &dims)?,
                here_and_there(second, &dims)?,
            );
            identical(&a_there.apply_op2_no_bwd(&b_there, &Sum)?, &(&a + &b)?)?;
            let own = a_there.force_contiguous()?;
            own.inplace_op2(&b_there, &Sum)?;
            identical(&own, &(&a + &b)?)
        },
    );
}

#[test]
fn three_operands() {
    property(
        (filled_dims(0..=4), view(), view(), view()),
        |(dims, first, second, third)| {
            let condition = third.tensor(&dims, DType::U8, Content::Whole(0, 1))?;
            let ((a, a_there), (b, b_there)) = (
                here_and_there(first, &dims)?,
                here_and_there(second, &dims)?,
            );
            let chosen = condition
                .to_device(&rocm()?)?
                .apply_op3_no_bwd(&a_there, &b_there, &Choice)?;
            identical(&chosen, &condition.where_cond(&a, &b)?)?;
            let out = Tensor::ones(dims.as_slice(), DType::F32, &rocm()?)?;
            out.inplace_op3(&a_there, &b_there, &ProductOf)?;
            identical(&out, &(&a * &b)?)
        },
    );
}

/// A module of the user's own: any code object, launched through the HIP layer.
struct TwiceThirdMore;

impl CustomOp1 for TwiceThirdMore {
    fn name(&self) -> &'static str {
        "twice and a third more"
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        unused()
    }
    fn rocm_fwd(&self, x: &RocmStorage, l: &Layout) -> Result<(RocmStorage, Shape)> {
        let device = x.device();
        let target = &device.properties().target;
        let code = kernels::AFFINE
            .select(target)
            .map_err(candle_core::Error::wrap)?;
        let module = device.load_module(code.bytes)?;
        let function = module
            .function("affine_f32")
            .map_err(candle_core::Error::wrap)?;
        let count = l.shape().elem_count();
        let out = RocmStorage::uninit(device, count, DType::F32)?;
        let mut args = KernelArgs::new();
        args.push(count)
            .push(0usize)
            .push(0usize)
            .push(x.contiguous_ptr(l, "affine")?);
        args.push(out.ptr_at(0)).push(2f32).push(1f32 / 3.0);
        let launch = Launch::new([count.div_ceil(256) as u32, 1, 1], [256, 1, 1]);
        // SAFETY: the arguments are those of the translated affine kernel, for a contiguous operand.
        unsafe { function.launch(&launch, device.stream(), &args) }
            .map_err(candle_core::Error::wrap)?;
        Ok((out, l.shape().clone()))
    }
}

#[test]
fn a_code_object_of_the_users_own() -> Result<()> {
    let (here, there) = here_and_there(View::contiguous(2), &[7, 41])?;
    let exact = (wide(&here)? * 2.0)?.affine(1.0, 1.0 / 3.0)?;
    let weights = (here.abs()? + 1.0)?;
    // The third is rounded, and the sum.
    rounded(
        &there.apply_op1_no_bwd(&TwiceThirdMore)?,
        &exact,
        Some(&weights),
        2.0,
    )
}

struct OnlyOnTheCpu;

impl CustomOp1 for OnlyOnTheCpu {
    fn name(&self) -> &'static str {
        "only-on-the-cpu"
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        unused()
    }
}

#[test]
fn an_operation_without_rocm_is_named() -> Result<()> {
    let (_, there) = here_and_there(View::contiguous(2), &[3])?;
    let error = there
        .apply_op1_no_bwd(&OnlyOnTheCpu)
        .expect_err("not implemented")
        .to_string();
    assert!(
        error.contains("rocm") && error.contains("only-on-the-cpu"),
        "{error}"
    );
    Ok(())
}
