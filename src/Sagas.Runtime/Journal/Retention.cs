using Sagas.Journal;

namespace Sagas.Runtime;

/// <summary>How long finished sagas are kept, and the clock that has a store look for those to forget: once a minute, one look at a time.</summary>
sealed class Retention(TimeSpan keep, TimeProvider time, Func<Task> look, Action<Exception>? failed = null) : IAsyncDisposable
{
    readonly Gate _one = new(time);
    ITimer? _timer;
    bool _closed;

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
        await _one.EnterAsync().ConfigureAwait(false);
        try
        {
            if (!_closed) await look().ConfigureAwait(false);
        }
        finally
        {
            _one.Leave();
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_timer is not null) await _timer.DisposeAsync().ConfigureAwait(false);
        await _one.EnterAsync().ConfigureAwait(false);
        _closed = true;
        _one.Leave();
    }

    async Task TickAsync()
    {
        // A look that is still under way is not waited for by ever more timers.
        if (_one.IsTaken) return;
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
