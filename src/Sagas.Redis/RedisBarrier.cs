using System.Collections.Concurrent;
using System.Text.Json;
using Microsoft.Extensions.Logging;
using Sagas.Participants;
using StackExchange.Redis;

namespace Sagas.Redis;

/// <summary>
/// Rows in Redis, for a participant that runs in one process or many. While one process is at a step a lease keeps the others out of it, so that a try and its
/// cancel that came to two processes follow one another, in whichever order. Nothing is written for a step whose lease is over.
/// </summary>
internal sealed class RedisBarrier : IBarrierStore
{
    private static readonly TimeSpan AskAgain = TimeSpan.FromMilliseconds(250);
    private static readonly Script s_turn = Script.Of("turn"), s_row = Script.Of("row"), s_leave = Script.Of("leave"), s_effect = Script.Of("effect");
    private readonly RedisLink _link;
    private readonly RedisOptions _options;
    private readonly long _keepMs;
    private readonly string _life = Guid.NewGuid().ToString("N")[..12];
    private readonly ConcurrentDictionary<StepKey, string> _turns = new();
    private readonly ConcurrentDictionary<string, Script> _effects = new();
    private readonly ITimer _renewal;
    private long _tokens;

    public RedisBarrier(RedisOptions options, TimeSpan retention, TimeProvider time, ILogger log)
    {
        (_options, _keepMs) = (options, (long)retention.TotalMilliseconds);
        // So many that each server of a cluster has some of them.
        _link = new RedisLink(options, [.. Enumerable.Range(0, 32).Select(i => KeyOf(new StepKey("", $"probe{i}")))], time, log);
        _renewal = time.CreateTimer(_ => Renew(), null, options.BarrierLease / 3, options.BarrierLease / 3);
    }

    public async ValueTask OpenAsync(CancellationToken cancel) => await _link.OpenAsync(cancel);

    public async ValueTask<BarrierRow?> FindAsync(string saga, string step, CancellationToken cancel)
    {
        var key = new StepKey(saga, step);
        var number = Interlocked.Increment(ref _tokens);
        var answer = (RedisResult[])(await _link.AskAsync(database => RedisLink.EvalAsync(database, s_turn, [KeyOf(key), TurnOf(key)], [_life, number, LeaseMs]), cancel))!;
        if ((long)answer[0] == 0) throw new BusyException(AskAgain, $"Another process of this participant is at step '{step}' of saga '{saga}'.");
        _turns[key] = $"{_life}.{number}";
        return answer[1].IsNull ? null : BarrierRowFormat.Read((byte[])answer[1]!);
    }

    public async ValueTask WriteAsync(BarrierRow row, CancellationToken cancel)
    {
        var key = new StepKey(row.Saga, row.Step);
        var written = await _link.AskAsync(database => RedisLink.EvalAsync(database, s_row, [KeyOf(key), TurnOf(key)],
            [_turns.GetValueOrDefault(key) ?? "", BarrierRowFormat.Write(row), row.IsSettled ? _keepMs : ""]), cancel);
        if ((long)written == 0) throw new InvalidOperationException(Lost(key));
    }

    public async ValueTask LeaveAsync(string saga, string step)
    {
        var key = new StepKey(saga, step);
        if (!_turns.TryRemove(key, out var token)) return;
        try
        {
            await _link.AskAsync(database => RedisLink.EvalAsync(database, s_leave, [TurnOf(key)], [token, ""]));
        }
        catch (Runtime.StoreUnavailableException)
        {
            // Then the lease runs out by itself, or this process comes again.
        }
    }

    /// <summary>Carries out a service's script together with the note that it was carried out.</summary>
    public async Task<Payload> ApplyAsync(CommandContext context, string lua, RedisKey[] keys, RedisValue[] values)
    {
        var key = new StepKey(context.Saga, context.Step);
        var script = _effects.GetOrAdd(lua, static text => new Script(s_effect.Text.Replace("--EFFECT--", text, StringComparison.Ordinal)));
        var second = context.Phase is Phase.Try or Phase.Do ? (RedisValue)"" : (int)context.Phase;
        var answer = (RedisResult[])(await _link.AskAsync(database => RedisLink.EvalAsync(database, script,
            [KeyOf(key), TurnOf(key), .. keys], [_turns.GetValueOrDefault(key) ?? "", second, _keepMs, .. values])))!;
        return (string?)answer[0] switch
        {
            "ok" => Payload.Parse((string)answer[1]!),
            "refused" => throw new RefusedException((string)answer[1]!, (string)answer[2]!),
            _ => throw new BusyException(AskAgain, Lost(key)),
        };
    }

    public async ValueTask DisposeAsync()
    {
        await _renewal.DisposeAsync();
        await _link.DisposeAsync();
    }

    private void Renew()
    {
        foreach (var (key, token) in _turns)
            _ = _link.AskAsync(database => RedisLink.EvalAsync(database, s_leave, [TurnOf(key)], [token, LeaseMs]))
                .ContinueWith(static task => task.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
    }

    private long LeaseMs => (long)_options.BarrierLease.TotalMilliseconds;

    private string Lost(StepKey key) =>
        $"This process was away from step '{key.Step}' of saga '{key.Saga}' for longer than its lease of {_options.BarrierLease.TotalSeconds} s (Sagas:Redis:BarrierLease); another one may be at it. Nothing was written.";

    private RedisKey KeyOf(StepKey key) => _options.BarrierTag is { } tag
        ? $"{_options.Prefix}:barrier:{{{tag}}}:{key.Saga}/{key.Step}"
        : $"{_options.Prefix}:barrier:{{{key.Saga}/{key.Step}}}";

    private RedisKey TurnOf(StepKey key) => KeyOf(key).Append(":turn");
}

/// <summary>
/// For handlers whose data lies in the barrier's Redis: an effect and the barrier's note of it, written in one piece. What crashes leaves both or neither, a
/// repeat gets the noted answer, and a try that was overtaken by its cancel changes nothing, however late or often it comes. Take it in the handler's constructor.
/// </summary>
public sealed class RedisEffects
{
    private readonly RedisBarrier _barrier;

    internal RedisEffects(RedisBarrier barrier) => _barrier = barrier;

    /// <summary>Carries out a script for the command in hand and gives its answer. One for each call of a handler.</summary>
    /// <param name="context">The handler's context.</param>
    /// <param name="lua">
    /// The script, a constant: it is kept for as long as the process runs. <c>KEYS</c> and <c>ARGV</c> are those given here. It returns the answer as JSON, or
    /// nothing; or, before it has written anything, <c>refuse('code', 'A sentence.')</c>. Checks come before writes: Lua does not roll back.
    /// </param>
    /// <param name="keys">The keys it touches; on a cluster in the slot of <see cref="RedisOptions.BarrierTag"/>.</param>
    /// <param name="values">What it needs besides.</param>
    /// <exception cref="RefusedException">The script refused, and nothing was done.</exception>
    /// <exception cref="BusyException">Another process has taken over the step; nothing was done.</exception>
    public async Task<T> ApplyAsync<T>(CommandContext context, string lua, RedisKey[] keys, params RedisValue[] values)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(lua);
        ArgumentNullException.ThrowIfNull(keys);
        var answer = await _barrier.ApplyAsync(context, lua, keys, values);
        return JsonSerializer.Deserialize<T>(answer.Utf8.Span, SagaJson.Options)!;
    }

    /// <summary>Carries out a script that answers nothing.</summary>
    /// <exception cref="RefusedException">The script refused, and nothing was done.</exception>
    /// <exception cref="BusyException">Another process has taken over the step; nothing was done.</exception>
    public Task ApplyAsync(CommandContext context, string lua, RedisKey[] keys, params RedisValue[] values)
    {
        ArgumentNullException.ThrowIfNull(context);
        return _barrier.ApplyAsync(context, lua, keys, values);
    }
}
