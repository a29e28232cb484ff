//! Stream capture: a sequence of work that is launched as one.

use crate::counters::LIVE;
use crate::device::Device;
use crate::drop_failures;
use crate::error::Result;
use crate::stream::Stream;
use crate::sys::graph::{hipGraphExec_t, hipStreamCaptureMode};

/// Captured work, ready to be launched any number of times.
#[derive(Debug)]
pub struct Graph {
    device: Device,
    handle: hipGraphExec_t,
}

// SAFETY: HIP's functions are thread-safe and a graph belongs to no thread; each use makes its device
// current. The handle is only released in `Drop`.
unsafe impl Send for Graph {}
// SAFETY: as for `Send`; the runtime orders launches of one graph.
unsafe impl Sync for Graph {}

impl Stream {
    /// From now on work given to this stream is recorded instead of run, until
    /// [`end_capture`](Stream::end_capture). Calls that wait for the stream fail meanwhile; allocating is allowed (the mode is
    /// relaxed).
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) when the runtime has no stream capture.
    pub fn begin_capture(&self) -> Result<()> {
        let library = self.device().library();
        let functions = library.graph_functions()?;
        self.device().make_current()?;
        let mode = hipStreamCaptureMode::hipStreamCaptureModeRelaxed;
        // SAFETY: the stream is live.
        let status = unsafe { (functions.hipStreamBeginCapture)(self.handle(), mode) };
        library.check("hipStreamBeginCapture", status, || {
            "beginning a capture".into()
        })
    }

    /// Ends the recording that [`begin_capture`](Stream::begin_capture) began.
    ///
    /// # Errors
    /// A runtime without graphs; HIP's error when the recording was broken, by a call that cannot be recorded for instance.
    pub fn end_capture(&self) -> Result<Graph> {
        let library = self.device().library();
        let functions = library.graph_functions()?;
        self.device().make_current()?;
        let mut graph = std::ptr::null_mut();
        // SAFETY: the stream is live; the call writes one handle.
        let status = unsafe { (functions.hipStreamEndCapture)(self.handle(), &mut graph) };
        library.check("hipStreamEndCapture", status, || "ending a capture".into())?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the graph is live; the call writes one handle.
        let instantiated =
            unsafe { (functions.hipGraphInstantiateWithFlags)(&mut handle, graph, 0) };
        let instantiated = library.check("hipGraphInstantiateWithFlags", instantiated, || {
            "instantiating a graph".into()
        });
        // SAFETY: the graph is live and not used again; what was instantiated stands by itself.
        let destroyed = unsafe { (functions.hipGraphDestroy)(graph) };
        drop_failures::keep_drop_failure(
            library.check("hipGraphDestroy", destroyed, || "destroying a graph".into()),
        );
        instantiated?;
        Ok(Graph {
            device: self.device().clone(),
            handle,
        })
    }
}

impl Graph {
    /// Queues the captured work on `stream`, of the same device.
    ///
    /// # Errors
    /// A stream of another device; HIP's error of the call.
    ///
    /// # Safety
    /// What was promised when each launch and copy was captured holds for this launch too: the memory that it
    /// uses is allocated, and stays so until the stream has passed this point.
    pub unsafe fn launch(&self, stream: &Stream) -> Result<()> {
        stream.expect_device(&self.device, "the graph")?;
        let library = self.device.library();
        let functions = library.graph_functions()?;
        self.device.make_current()?;
        // SAFETY: both handles are live; the rest is the caller's promise.
        let status = unsafe { (functions.hipGraphLaunch)(self.handle, stream.handle()) };
        library.check("hipGraphLaunch", status, || "launching a graph".into())?;
        LIVE.graph_launches.add();
        Ok(())
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let release = || {
            let library = self.device.library();
            self.device.make_current()?;
            // SAFETY: the handle is live and not used again.
            let status = unsafe { (library.graph_functions()?.hipGraphExecDestroy)(self.handle) };
            library.check("hipGraphExecDestroy", status, || {
                "destroying a graph".into()
            })
        };
        drop_failures::keep_drop_failure(release());
    }
}
