using Sagas.Journal;

namespace Sagas.Runtime;

/// <summary>How long finished sagas are kept, and the clock that has a store look for those to forget: once a minute, one look at a time.</summary>
sealed class Retention(TimeSpan keep, TimeProvider time, Func<Task> look, Action<Exception>? failed = null) : IAsyncDisposable
{
    // The last look asked for. Each waits for the one before it and for no other, so that on virtual time it goes on inline: a semaphore would leave the thread.
    Task _last = Task.CompletedTask;
    ITimer? _timer;
    volatile bool _closed;

    /// <summary>What ended at this time (Unix milliseconds) or before is forgotten.</summary>
    public long Cutoff
    {
        get
        {
            var now = time.GetUtcNow();
            return keep >= now - DateTimeOffset.MinValue ? long.MinValue : (now - keep).ToUnixTimeMilliseconds();
        }
    }

    public void Start() => _timer ??= time.CreateTimer(static self => _ = ((Retention)self!).TickAsync(), this, TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(1));

    /// <summary>Looks now, after a look that is under way.</summary>
    public async Task LookAsync()
    {
        var done = new TaskCompletionSource(time.Continuations());
        await Interlocked.Exchange(ref _last, done.Task).ConfigureAwait(false);
        try
        {
            if (!_closed) await look().ConfigureAwait(false);
        }
        finally
        {
            done.SetResult();
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_timer is not null) await _timer.DisposeAsync().ConfigureAwait(false);
        _closed = true;
        await LookAsync().ConfigureAwait(false);
    }

    async Task TickAsync()
    {
        // A look that is still under way is not waited for by ever more timers.
        if (!Volatile.Read(ref _last).IsCompleted) return;
        try
        {
            await time.Run(LookAsync).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            failed?.Invoke(error);
        }
    }
}
