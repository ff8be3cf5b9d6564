using Sagas.Journal;

namespace Sagas.Participants;

/// <summary>An item on its way through a participant.</summary>
/// <param name="Item">The command.</param>
/// <param name="Participant">For whom it is.</param>
/// <param name="Send">How its reply travels; null when somebody waits for it.</param>
/// <param name="Asker">Who waits for the reply; null when it travels.</param>
/// <param name="Receipt">Who waits until the replies have been sent; null: nobody.</param>
internal readonly record struct Work(CommandItem Item, Participant Participant, SendReplies? Send, Asker? Asker = null, Receipt? Receipt = null);

/// <summary>Somebody in this process who waits for one reply.</summary>
/// <param name="gone">Cancelled when nobody waits any more: the handler's time is over then.</param>
internal sealed class Asker(CancellationToken gone)
{
    public TaskCompletionSource<ReplyItem> Reply { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    public CancellationToken Gone => gone;
}

/// <summary>
/// A participant's queue: items begin in order of arrival, so many at a time. They run on the thread that took them, without a task of their own, as long as
/// their handlers do not wait; should one block its thread, another thread already stands by to go on with the queue.
/// </summary>
internal sealed class Lane(int concurrency, Func<Work, ValueTask> handle, TimeProvider time) : IThreadPoolWorkItem
{
    // So many items in one go before other work of the process has its turn.
    private const int Stint = 64;
    private const int MostWaiting = 1024;

    private readonly Lock _gate = new();
    private readonly Queue<Work> _waiting = new();
    private int _running, _lent;
    private bool _helperCalled, _closed;
    private TaskCompletionSource? _room, _idle;

    /// <summary>Takes the items; waits first while too many wait already.</summary>
    public async ValueTask AcceptAsync(IReadOnlyList<CommandItem> items, Participant participant, SendReplies? send, CancellationToken cancel, Asker? asker = null, Receipt? receipt = null)
    {
        while (true)
        {
            Task room;
            lock (_gate)
            {
                if (_closed)
                {
                    receipt?.GivenUp();
                    return;
                }
                if (_waiting.Count < MostWaiting)
                {
                    for (var i = 0; i < items.Count; i++) _waiting.Enqueue(new Work(items[i], participant, send, asker, receipt));
                    CallHelper_NeedsLock();
                    return;
                }
                room = (_room ??= new TaskCompletionSource(time.Continuations())).Task;
            }
            await time.Shared(room).WaitAsync(cancel);
        }
    }

    /// <summary>Takes an item back that was here before: it does not wait for room.</summary>
    public void Again(in Work work)
    {
        lock (_gate)
        {
            if (_closed)
            {
                work.Receipt?.GivenUp();
                return;
            }
            _waiting.Enqueue(work);
            CallHelper_NeedsLock();
        }
    }

    /// <summary>Begins nothing more; completes when what runs has ended.</summary>
    public Task CloseAsync()
    {
        lock (_gate)
        {
            _closed = true;
            foreach (var work in _waiting) work.Receipt?.GivenUp();
            _waiting.Clear();
            _room?.TrySetResult();
            _idle ??= new TaskCompletionSource(time.Continuations());
            if (_running == 0) _idle.TrySetResult();
            return _idle.Task;
        }
    }

    public int Running { get { lock (_gate) return _running; } }

    /// <summary>Gives another item the place of one that overstays its deadline, so that hung handlers do not close the participant.</summary>
    public void Lend()
    {
        lock (_gate)
        {
            _lent++;
            CallHelper_NeedsLock();
        }
    }

    /// <summary>The one that overstayed has ended after all.</summary>
    public void Return()
    {
        lock (_gate) _lent--;
    }

    void IThreadPoolWorkItem.Execute()
    {
        lock (_gate) _helperCalled = false;
        for (var i = 0; i < Stint; i++)
        {
            Work work;
            lock (_gate)
            {
                if (!TryTake_NeedsLock(out work)) return;
                CallHelper_NeedsLock();
            }
            var done = handle(work);
            if (done.IsCompleted) Ended();
            else _ = EndAsync(done);
        }
        lock (_gate) CallHelper_NeedsLock();
    }

    private async Task EndAsync(ValueTask done)
    {
        await done;
        Ended();
    }

    private void Ended()
    {
        lock (_gate)
        {
            _running--;
            if (_running == 0) _idle?.TrySetResult();
            CallHelper_NeedsLock();
        }
    }

    private bool TryTake_NeedsLock(out Work work)
    {
        if (_running >= concurrency + _lent || !_waiting.TryDequeue(out work))
        {
            work = default;
            return false;
        }
        _running++;
        if (_room is { } room && _waiting.Count < MostWaiting)
        {
            // First, because in virtual time who waits goes on here and now, and may find it full again.
            _room = null;
            room.TrySetResult();
        }
        return true;
    }

    private void CallHelper_NeedsLock()
    {
        if (_helperCalled || _waiting.Count == 0 || _running >= concurrency + _lent) return;
        _helperCalled = true;
        time.Queue(this);
    }
}
