namespace Sagas.Journal;

/// <summary>
/// A clock whose owner also says when, and in which order, work beside the caller runs: a simulator's, which has everything on one thread and its
/// continuations inline. With any other clock such work runs on the thread pool.
/// </summary>
internal abstract class VirtualTime : TimeProvider
{
    /// <summary>Runs the work later, never within this call.</summary>
    public abstract void Queue(Action work);
}

/// <summary>Work beside the caller, on the thread pool unless the clock is virtual.</summary>
internal static class Background
{
    public static Task Run(this TimeProvider time, Func<Task> work) => time is VirtualTime owner ? RunAsync(owner, work) : Task.Run(work);

    public static Task<T> Run<T>(this TimeProvider time, Func<Task<T>> work, CancellationToken cancel) =>
        time is VirtualTime owner ? RunAsync(owner, work) : Task.Run(work, cancel);

    public static void Queue(this TimeProvider time, IThreadPoolWorkItem work)
    {
        if (time is VirtualTime owner) owner.Queue(work.Execute);
        else ThreadPool.UnsafeQueueUserWorkItem(work, preferLocal: false);
    }

    /// <summary>For a <see cref="TaskCompletionSource"/>: who completes it must not run what waits for it, unless the order is the clock's anyway.</summary>
    public static TaskCreationOptions Continuations(this TimeProvider time) =>
        time is VirtualTime ? TaskCreationOptions.None : TaskCreationOptions.RunContinuationsAsynchronously;

    /// <summary>Cancels without running what waits for that before it returns, unless the order is the clock's anyway.</summary>
    public static Task CancelAsync(this TimeProvider time, CancellationTokenSource source)
    {
        if (time is not VirtualTime) return source.CancelAsync();
        source.Cancel();
        return Task.CompletedTask;
    }

    /// <summary>A task that many may wait for. Of several who wait for one task only the first goes on inline; so, on virtual time, each waits for one of their own.</summary>
    public static Task Shared(this TimeProvider time, Task task) => time is VirtualTime
        ? task.ContinueWith(static _ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default)
        : task;

    private static async Task RunAsync(VirtualTime owner, Func<Task> work)
    {
        await Turn(owner).ConfigureAwait(false);
        await work().ConfigureAwait(false);
    }

    private static async Task<T> RunAsync<T>(VirtualTime owner, Func<Task<T>> work)
    {
        await Turn(owner).ConfigureAwait(false);
        return await work().ConfigureAwait(false);
    }

    private static Task Turn(VirtualTime owner)
    {
        var turn = new TaskCompletionSource();
        owner.Queue(turn.SetResult);
        return turn.Task;
    }
}

/// <summary>Lets one in at a time, in order. Unlike a semaphore, which has who waits go on upon the thread pool, this one keeps to the clock's order.</summary>
internal sealed class Gate(TimeProvider time)
{
    private readonly Lock _lock = new();
    private readonly Queue<TaskCompletionSource> _waiting = new();
    private bool _taken;

    public bool IsTaken { get { lock (_lock) return _taken; } }

    public async Task EnterAsync(CancellationToken cancel = default)
    {
        TaskCompletionSource turn;
        lock (_lock)
        {
            if (!_taken)
            {
                _taken = true;
                return;
            }
            _waiting.Enqueue(turn = new TaskCompletionSource(time.Continuations()));
        }
        using (cancel.UnsafeRegister(static (turn, token) => ((TaskCompletionSource)turn!).TrySetCanceled(token), turn)) await turn.Task.ConfigureAwait(false);
    }

    public void Leave()
    {
        while (true)
        {
            TaskCompletionSource? next;
            lock (_lock)
                if (!_waiting.TryDequeue(out next))
                {
                    _taken = false;
                    return;
                }
            // One who no longer waits is passed over.
            if (next.TrySetResult()) return;
        }
    }
}
