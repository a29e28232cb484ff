//! Graphs: work that is recorded once and launched as one, any number of times.
//!
//! A decoding step is hundreds of small launches, each of which costs the host and the device more than many of the kernels
//! take. Recorded as a graph it is one. What a launch of the graph does is what was recorded, to the address: inputs are
//! given by writing them into the tensors that the recording read ([`crate::Tensor::slice_set`]), results are read from the
//! tensors that it made.
use super::allocator::GraphId;
use super::error::{OrRocm, RocmError};
use super::{forms, RocmDevice};
use crate::Result;
use candle_hip::{Graph, Stream};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// Work of a device that was recorded by [`RocmDevice::graph`].
///
/// Memory that was in use while it was recorded is given to nobody else as long as the graph lives, whether or not the
/// tensors do. Kernels of modules that the caller loaded ([`RocmDevice::load_module`]) must be kept by the caller.
pub struct RocmGraph {
    device: RocmDevice,
    graph: Graph,
    memory: KeptMemory,
}

impl std::fmt::Debug for RocmGraph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RocmGraph({:?}, {:?})", self.device, self.memory.id)
    }
}

/// The memory of a graph, which goes back to the pool when the graph does.
struct KeptMemory {
    device: RocmDevice,
    id: GraphId,
}

impl Drop for KeptMemory {
    fn drop(&mut self) {
        self.device.inner.allocator.release_graph(self.id);
    }
}

/// Who may put work into a device's stream: everybody, or the one thread that records.
#[derive(Default)]
pub(super) struct Recorder {
    /// Held for reading while something is enqueued, for writing while a graph is recorded.
    lock: RwLock<()>,
    /// The thread that records; 0 is none.
    thread: AtomicU64,
}

/// The number of this thread, from 1 on.
fn this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

/// The stream, for one call that enqueues something. Never held across another one.
pub(crate) struct Queue<'a> {
    stream: &'a Stream,
    _others_may_too: Option<RwLockReadGuard<'a, ()>>,
}

impl Deref for Queue<'_> {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        self.stream
    }
}

/// Ends the recording, however the recorded closure is left.
struct Recording<'a> {
    device: &'a RocmDevice,
    ended: bool,
}

impl Recording<'_> {
    fn end(&mut self) -> Result<Graph> {
        self.ended = true;
        let graph = self.device.inner.stream.end_capture();
        self.device
            .inner
            .recorder
            .thread
            .store(0, Ordering::Release);
        forms::forget_all();
        graph.rocm()
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // The closure panicked: nobody wants what was recorded.
            let _ = self.end();
        }
    }
}

impl RocmDevice {
    /// Whether this thread is recording a graph on this device.
    pub(crate) fn is_recording(&self) -> bool {
        self.inner.recorder.thread.load(Ordering::Acquire) == this_thread()
    }

    /// Waits while another thread records a graph: its recording would swallow what this thread enqueues.
    pub(crate) fn queue(&self) -> Queue<'_> {
        let lock = &self.inner.recorder.lock;
        Queue {
            stream: &self.inner.stream,
            _others_may_too: (!self.is_recording())
                .then(|| lock.read().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Records what `work` enqueues on this device instead of running it, and gives the graph along with what `work` returns:
    /// tensors whose content is there once the graph has been launched.
    ///
    /// `work` may allocate, but not wait for the device: reading a value on the host, uploading a tensor and `synchronize`
    /// fail inside. Do the same work once before, so that its kernels are loaded. Other threads that use the device wait
    /// until the recording is over.
    ///
    /// # Errors
    /// What `work` returns; HIP's error when something in it cannot be recorded; a runtime without stream capture. Nothing
    /// is left of the recording then, and the device goes on.
    ///
    /// ```no_run
    /// # use candle_core::{Device, Tensor};
    /// let device = Device::new_rocm(0)?;
    /// let x = Tensor::zeros((1, 4096), candle_core::DType::F32, &device)?;
    /// let step = || x.affine(2.0, 1.0)?.silu();
    /// step()?;
    /// let (graph, y) = device.as_rocm_device()?.graph(step)?;
    /// for value in [0.5f32, 1.5] {
    ///     x.slice_set(&Tensor::full(value, (1, 4096), &device)?, 0, 0)?;
    ///     graph.launch()?;
    ///     println!("{y}");
    /// }
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn graph<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(RocmGraph, T)> {
        let recorder = &self.inner.recorder;
        if self.is_recording() {
            crate::bail!(
                "rocm: a graph is being recorded by this thread already: graphs do not nest"
            )
        }
        candle_hip::expect_own_process().rocm()?;
        let _alone = recorder
            .lock
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        self.inner.stream.begin_capture().rocm()?;
        recorder.thread.store(this_thread(), Ordering::Release);
        forms::forget_all();
        let mut recording = Recording {
            device: self,
            ended: false,
        };
        let allocator = &self.inner.allocator;
        let memory = KeptMemory {
            device: self.clone(),
            id: allocator.begin_recording(),
        };
        let made = work();
        let graph = recording.end();
        allocator.end_recording(memory.id);
        // Why the closure stopped says more than that the capture was spoilt by it.
        let made = made?;
        let device = self.clone();
        match graph {
            Ok(graph) => Ok((
                RocmGraph {
                    device,
                    graph,
                    memory,
                },
                made,
            )),
            Err(error) => Err(RocmError::Message(format!(
                "recording a graph: {error}. Nothing may wait for the device meanwhile"
            )))
            .rocm(),
        }
    }
}

impl RocmGraph {
    /// Enqueues the recorded work, behind everything enqueued so far.
    ///
    /// # Errors
    /// HIP's error of the call.
    pub fn launch(&self) -> Result<()> {
        // SAFETY: `memory` keeps every block that was in use by the end of the recording from being given to anybody else
        // or back to HIP, and the device keeps the kernels of candle's modules loaded.
        unsafe { self.graph.launch(&self.device.queue()) }.rocm()?;
        forms::forget_all();
        Ok(())
    }

    /// The GPU that it was recorded on.
    pub fn device(&self) -> &RocmDevice {
        &self.device
    }
}
