//! A decoding step that is recorded once and then launched as one graph for each token.
use candle::{Result, Tensor};
#[cfg(feature = "rocm")]
pub(super) use recording::{current, writes, Follow};

/// The decoding steps of a model: plain calls at first and wherever the shapes change, then launches of a graph.
///
/// A model keeps one beside its layers and hands each forward pass to [`step`](Self::step). On rocm a step of one token whose
/// attention goes through [`crate::fused::CachedAttention`] is recorded when the third one in a row comes; the kernels then
/// read from the device which token and position it is. Anything else (prompts, other devices, a cache that has run out of
/// room, work that cannot be recorded) is the plain call. A clone begins anew. `CANDLE_ROCM_GRAPHS=0` leaves every step plain.
#[derive(Debug, Default)]
pub struct RecordedStep {
    #[cfg(feature = "rocm")]
    state: recording::State,
}

impl Clone for RecordedStep {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl RecordedStep {
    /// No step yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// `forward(input)`, where the newest of the tokens in `input` (`[batch, tokens]`) stand at the positions from `position`
    /// on. The result is the caller's: the next step does not change it.
    ///
    /// # Errors
    /// Those of `forward`.
    pub fn step(
        &mut self,
        input: &Tensor,
        position: usize,
        mut forward: impl FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        #[cfg(feature = "rocm")]
        if input.device().is_rocm() {
            return self.state.step(input, position, &mut forward);
        }
        let _ = position;
        forward(input)
    }

    /// Whether the last step was a launch of a graph.
    pub fn is_recorded(&self) -> bool {
        #[cfg(feature = "rocm")]
        return self.state.is_recorded();
        #[cfg(not(feature = "rocm"))]
        false
    }
}

#[cfg(feature = "rocm")]
mod recording {
    use super::super::attention::Room;
    use candle::rocm_backend::RocmGraph;
    use candle::{DType, Result, Tensor};
    use std::cell::RefCell;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, OnceLock};

    /// Steps in a row that are plain before one is recorded: kernels and memory are there then.
    const PLAIN_STEPS: usize = 2;
    /// Recordings that may fail before no more is tried.
    const MOST_FAILURES: usize = 3;

    /// How many positions a graph's caches hold.
    #[derive(Debug)]
    pub(in super::super) struct Follow {
        /// As the kernels read it: a u32.
        pub(in super::super) on_device: Tensor,
        len: AtomicUsize,
    }

    impl Follow {
        pub(in super::super) fn len(&self) -> usize {
            self.len.load(Ordering::Relaxed)
        }
    }

    thread_local! {
        /// What this thread records.
        static CURRENT: RefCell<Option<Session>> = const { RefCell::new(None) };
    }

    struct Session {
        follow: Arc<Follow>,
        written: Written,
    }

    /// What each launch of a graph writes at its position.
    #[derive(Debug, Clone, Default)]
    struct Written {
        rooms: Vec<Room>,
        /// Positions that the tables of angles have.
        angles: Option<usize>,
    }

    /// The positions that recorded kernels read, while a step is recorded.
    pub(in super::super) fn current() -> Option<Arc<Follow>> {
        CURRENT.with(|current| Some(current.borrow().as_ref()?.follow.clone()))
    }

    /// Each launch will write into `room`, by tables of `angles` positions.
    pub(in super::super) fn writes(room: &Room, angles: usize) {
        CURRENT.with(|current| {
            if let Some(session) = current.borrow_mut().as_mut() {
                let written = &mut session.written;
                written.rooms.push(room.clone());
                written.angles = Some(written.angles.map_or(angles, |least| least.min(angles)));
            }
        })
    }

    /// Ends the session, however the closure is left.
    struct InSession;

    impl InSession {
        fn begin(follow: &Arc<Follow>) -> Self {
            let session = Session {
                follow: follow.clone(),
                written: Written::default(),
            };
            CURRENT.with(|current| *current.borrow_mut() = Some(session));
            Self
        }

        fn written(&self) -> Written {
            CURRENT.with(|current| {
                let current = current.borrow();
                current
                    .as_ref()
                    .map(|s| s.written.clone())
                    .unwrap_or_default()
            })
        }
    }

    impl Drop for InSession {
        fn drop(&mut self) {
            CURRENT.with(|current| *current.borrow_mut() = None);
        }
    }

    #[derive(Debug)]
    pub(super) struct Recorded {
        graph: RocmGraph,
        /// The token that the graph reads, and the logits that it leaves.
        input: Tensor,
        output: Tensor,
        follow: Arc<Follow>,
        written: Written,
    }

    #[derive(Debug)]
    pub(super) struct State {
        recorded: Option<Box<Recorded>>,
        /// Plain steps of one token in a row.
        plain: usize,
        failures: usize,
    }

    impl Default for State {
        fn default() -> Self {
            Self {
                recorded: None,
                plain: 0,
                failures: if enabled() { 0 } else { MOST_FAILURES },
            }
        }
    }

    fn enabled() -> bool {
        static ENABLED: OnceLock<bool> = OnceLock::new();
        *ENABLED.get_or_init(|| {
            std::env::var("CANDLE_ROCM_GRAPHS").map_or(true, |v| v != "0" && v != "off")
        })
    }

    impl State {
        pub(super) fn is_recorded(&self) -> bool {
            self.recorded.is_some()
        }

        pub(super) fn step(
            &mut self,
            input: &Tensor,
            position: usize,
            forward: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
        ) -> Result<Tensor> {
            let one_token = input.dims().last() == Some(&1) && position > 0;
            if !one_token {
                self.recorded = None;
                self.plain = 0;
                return forward(input);
            }
            if let Some(recorded) = &self.recorded {
                if recorded.continues(input, position) {
                    return recorded.launch(input);
                }
                // Its shapes or its room are over: it is made anew.
                self.recorded = None;
            }
            if self.plain >= PLAIN_STEPS && self.failures < MOST_FAILURES {
                match Recorded::new(input, position, forward) {
                    Ok(recorded) if recorded.continues(input, position) => {
                        let output = recorded.launch(input)?;
                        self.recorded = Some(Box::new(recorded));
                        self.failures = 0;
                        return Ok(output);
                    }
                    // Nothing has run: the plain step does it all.
                    _ => self.failures += 1,
                }
            }
            self.plain += 1;
            forward(input)
        }
    }

    impl Recorded {
        fn new(
            input: &Tensor,
            position: usize,
            forward: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
        ) -> Result<Self> {
            let device = input.device();
            let input = input.copy()?;
            let count = u32::try_from(position).map_err(candle::Error::wrap)?;
            let on_device = Tensor::new(&[count], device)?;
            let one = Tensor::ones(1, DType::U32, device)?;
            let follow = Arc::new(Follow {
                on_device,
                len: AtomicUsize::new(position),
            });
            let session = InSession::begin(&follow);
            let (graph, output) = device.as_rocm_device()?.graph(|| {
                let output = forward(&input)?;
                let next = (&follow.on_device + &one)?;
                follow.on_device.slice_set(&next, 0, 0)?;
                Ok(output)
            })?;
            let written = session.written();
            Ok(Self {
                graph,
                input,
                output,
                follow,
                written,
            })
        }

        /// Whether the graph does the step of `input` at `position`, and every cache has the place for it.
        fn continues(&self, input: &Tensor, position: usize) -> bool {
            let Written { rooms, angles } = &self.written;
            self.follow.len() == position
                && angles.is_some_and(|angles| position < angles)
                && self.input.shape() == input.shape()
                && self.input.dtype() == input.dtype()
                && self.input.device().same_device(input.device())
                && rooms.iter().all(|room| room.take(position, position + 1))
        }

        fn launch(&self, input: &Tensor) -> Result<Tensor> {
            self.input.slice_set(&input.contiguous()?, 0, 0)?;
            self.graph.launch()?;
            self.follow.len.fetch_add(1, Ordering::Relaxed);
            self.output.copy()
        }
    }
}
