using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Logging;
using Sagas.Runtime;
using StackExchange.Redis;

namespace Sagas.Redis;

/// <summary>One Lua file: an operation that Redis carries out in one piece.</summary>
internal sealed class Script
{
    private static readonly FrozenDictionary<string, Script> s_all = typeof(Script).Assembly.GetManifestResourceNames()
        .ToFrozenDictionary(static name => name, static name =>
        {
            using var reader = new StreamReader(typeof(Script).Assembly.GetManifestResourceStream(name)!);
            return new Script(reader.ReadToEnd());
        });

    public Script(string text)
    {
        Text = text;
        // SHA-1 is how Redis names scripts; nothing is secured by it.
#pragma warning disable CA5350
        Hash = SHA1.HashData(Encoding.UTF8.GetBytes(text));
#pragma warning restore CA5350
    }

    public string Text { get; }
    public byte[] Hash { get; }

    public static Script Of(string name) => s_all[name];
}

/// <summary>
/// The way to Redis: runs scripts, gives up after the timeout, says what is wrong, finds out when it is well again, and makes a new connection when one does not
/// get well. Every question goes to a primary: a replica may lag behind.
/// </summary>
internal sealed class RedisLink : IAsyncDisposable
{
    private static readonly TimeSpan ProbeEvery = TimeSpan.FromSeconds(1), ReplaceAfter = TimeSpan.FromSeconds(3);
    private const int CheckEvery = 5;   // probes
    private readonly RedisOptions _options;
    private readonly RedisKey[] _probes;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly CancellationTokenSource _stop = new();
    private volatile RedisConnection? _connection;
    private Task _watching = Task.CompletedTask, _replacing = Task.CompletedTask;
    private volatile ImmutableList<(RedisChannel Channel, Action<RedisValue> Listener)> _heard = [];
    private volatile bool _isWell = true;
    private volatile string? _trouble;
    private volatile StoreHealth _checked = StoreHealth.Good;
    private long _reconfiguredAt;

    /// <param name="options">Where Redis is.</param>
    /// <param name="probes">Keys that are written to see whether that can be: one of each place where there is something.</param>
    /// <param name="time">The clock.</param>
    /// <param name="log">Where what is wrong is said.</param>
    public RedisLink(RedisOptions options, RedisKey[] probes, TimeProvider time, ILogger log) => (_options, _probes, _time, _log) = (options, probes, time, log);

    public IDatabase Database => Connection.Database;

    private RedisConnection Connection => _connection ?? throw new InvalidOperationException("The store is not open.");

    /// <summary>What is wrong, if anything is.</summary>
    public StoreHealth Health => _trouble is { } trouble ? new StoreHealth(StoreLevel.Down, trouble) : _checked;

    /// <summary>Connects. Returns when everything can be written.</summary>
    /// <exception cref="StoreUnavailableException">It cannot, within the time for that.</exception>
    public async Task OpenAsync(CancellationToken cancel)
    {
        var began = TimeProvider.System.GetTimestamp();
        var settings = _options.Parse();
        _connection = await RedisConnection.OpenAsync(settings, _options.Prefix, _log).ConfigureAwait(false);
        while (await ProbeAsync(_connection).ConfigureAwait(false) is { } trouble)
        {
            if (TimeProvider.System.GetElapsedTime(began) >= _options.ConnectTimeout)
                throw new StoreUnavailableException($"Redis at '{_options.Shown}' (Sagas:Redis:Connection) cannot be used: {await RedisGreeting.FaultAsync(settings, _options.Timeout).ConfigureAwait(false) ?? trouble} Expected is a primary that this program may write to.");
            await Task.Delay(200, cancel).ConfigureAwait(false);
        }
        await CheckAsync(starting: true).ConfigureAwait(false);
        _watching = Task.Run(WatchAsync, CancellationToken.None);
    }

    /// <summary>Has what comes on these channels told to listeners, one message after the other. Returns when Redis knows.</summary>
    /// <exception cref="StoreUnavailableException">It did not say so in time.</exception>
    public async Task HearAsync(params (RedisChannel Channel, Action<RedisValue> Listener)[] all)
    {
        try
        {
            await Connection.HearAsync(all, _options.Timeout).ConfigureAwait(false);
            _heard = [.. all];
        }
        catch (Exception e) when (IsTrouble(e))
        {
            throw Troubled(e);
        }
    }

    /// <summary>Says something on a channel.</summary>
    /// <exception cref="StoreUnavailableException">Whether anybody heard it is not known.</exception>
    public Task PublishAsync(RedisChannel channel, RedisValue message, CancellationToken cancel = default) => AskAsync(_ => Connection.Subscriber.PublishAsync(channel, message), cancel);

    /// <summary>Runs a script. The keys lie in one partition.</summary>
    public Task<RedisResult> EvalAsync(Script script, RedisKey[] keys, RedisValue[] values) => EvalAsync(Database, script, keys, values);

    public static async Task<RedisResult> EvalAsync(IDatabase database, Script script, RedisKey[] keys, RedisValue[] values)
    {
        try
        {
            return await database.ScriptEvaluateAsync(script.Hash, keys, values, CommandFlags.DemandMaster).ConfigureAwait(false);
        }
        catch (RedisServerException e) when (IsUnknownScript(e))
        {
            // This server was restarted, or has not seen the script yet. Nothing was done, so the text can follow.
            return await EvalTextAsync(database, script, keys, values).ConfigureAwait(false);
        }
    }

    /// <summary>Runs a script by its text, which the server then knows.</summary>
    public static Task<RedisResult> EvalTextAsync(IDatabase database, Script script, RedisKey[] keys, RedisValue[] values)
    {
        var arguments = new object[2 + keys.Length + values.Length];
        (arguments[0], arguments[1]) = (script.Text, keys.Length);
        for (var i = 0; i < keys.Length; i++) arguments[2 + i] = keys[i];
        for (var i = 0; i < values.Length; i++) arguments[2 + keys.Length + i] = values[i];
        return database.ExecuteAsync("EVAL", arguments, CommandFlags.DemandMaster);
    }

    public static bool IsUnknownScript(Exception? e) => e is RedisServerException && e.Message.StartsWith("NOSCRIPT", StringComparison.Ordinal);

    /// <summary>Waits for Redis' answer, no longer than the timeout.</summary>
    /// <exception cref="StoreUnavailableException">There is none: what was asked for may or may not have been done.</exception>
    public async Task<T> AskAsync<T>(Func<IDatabase, Task<T>> ask, CancellationToken cancel = default)
    {
        try
        {
            var asked = ask(Database);
            // Whoever gives up waiting leaves the answer behind, which must not be reported as an error that nobody saw.
            _ = asked.ContinueWith(static task => task.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            return await asked.WaitAsync(_options.Timeout, TimeProvider.System, cancel).ConfigureAwait(false);
        }
        catch (Exception e) when (IsTrouble(e))
        {
            throw Troubled(e);
        }
    }

    /// <summary>
    /// Whether Redis or the way to it is to blame. The client may throw a NullReferenceException of its own while a connection is lost and made again
    /// (https://github.com/StackExchange/StackExchange.Redis/issues/962).
    /// </summary>
    public static bool IsTrouble(Exception e) => e is RedisException or TimeoutException or ObjectDisposedException or NullReferenceException;

    /// <summary>Notes that something went wrong: from now on the store counts as down, until a probe succeeds.</summary>
    public StoreUnavailableException Troubled(Exception e)
    {
        var message = Describe(e);
        if (Interlocked.Exchange(ref _trouble, message) is null) Log.Down(_log, message);
        if (e is RedisServerException && e.Message.StartsWith("READONLY", StringComparison.Ordinal)) Reconfigure();
        return new StoreUnavailableException(message, e);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        await _watching.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _replacing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (_connection is { } connection) await connection.DisposeAsync().ConfigureAwait(false);
    }

    private string Describe(Exception e)
    {
        var word = e is RedisServerException ? e.Message.Split(' ')[0] : IsLoading(e) || IsLoading(e.InnerException) ? "LOADING" : "";
        return word switch
        {
            "LOADING" => "Redis reads its data from disk after a start. It takes commits when it has done so.",
            "READONLY" => "The Redis server is a replica and takes no writes. Name the primary in Sagas:Redis:Connection; after a failover the new one is looked for.",
            "OOM" => "Redis is out of memory and takes no writes. Give it more (maxmemory), or keep finished sagas for a shorter time (Sagas:Retention).",
            "MISCONF" => "Redis cannot write to its disk and takes no writes. See its log.",
            "NOAUTH" or "WRONGPASS" or "NOPERM" or "ERR" when e.Message.Contains("password", StringComparison.OrdinalIgnoreCase) || word is "NOAUTH" or "NOPERM" =>
                $"Redis refuses this program: {_options.Scrub(e.Message)} Check the password and the user's rights in Sagas:Redis:Connection.",
            "" when e is TimeoutException => $"Redis has not answered within {_options.Timeout.TotalSeconds:0.###} s (Sagas:Redis:Timeout).",
            "" when e is RedisConnectionException { FailureType: ConnectionFailureType.UnableToResolvePhysicalConnection } => $"There is no connection to Redis at {_options.Shown}.",
            "" => $"There is no connection to Redis at {_options.Shown}: {_options.Scrub(e.Message).Split('\n')[0].Split(';')[0]}",
            _ => $"Redis answers: {_options.Scrub(e.Message)}",
        };
    }

    private static bool IsLoading(Exception? e) => e is RedisConnectionException { FailureType: ConnectionFailureType.Loading };

    /// <summary>Asks every server who is who. At most once a second.</summary>
    private void Reconfigure()
    {
        var now = Environment.TickCount64;
        var last = Volatile.Read(ref _reconfiguredAt);
        if (now - last < 1000 || Interlocked.CompareExchange(ref _reconfiguredAt, now, last) != last) return;
        _connection?.Reconfigure();
    }

    private async Task WatchAsync()
    {
        using var timer = new PeriodicTimer(ProbeEvery, _time);
        var wellAt = TimeProvider.System.GetTimestamp();
        for (var turn = 1; ; turn++)
        {
            try
            {
                if (!await timer.WaitForNextTickAsync(_stop.Token).ConfigureAwait(false)) return;
            }
            catch (OperationCanceledException)
            {
                return;
            }
            if (_trouble is not null)
            {
                _trouble = await ProbeAsync(Connection).ConfigureAwait(false);
                if (_trouble is null) Log.Up(_log);
            }
            if (turn % CheckEvery == 0 && _trouble is null && _replacing.IsCompleted) await CheckAsync(starting: false).ConfigureAwait(false);
            _isWell = _trouble is null && (_heard.IsEmpty || await HearsAsync(Connection).ConfigureAwait(false));
            if (_isWell) wellAt = TimeProvider.System.GetTimestamp();
            else if (_replacing.IsCompleted && TimeProvider.System.GetElapsedTime(wellAt) > ReplaceAfter) _replacing = ReplaceAsync();
        }
    }

    /// <summary>Puts another connection in the place of one that does not get well, if the other one is. Redis may as well be away: then neither is.</summary>
    private async Task ReplaceAsync()
    {
        var (old, fresh) = (Connection, await RedisConnection.OpenAsync(_options.Parse(), _options.Prefix, _log).ConfigureAwait(false));
        var isBetter = await ProbeAsync(fresh).ConfigureAwait(false) is null && await HearsAsync(fresh, _heard).ConfigureAwait(false) && !_isWell && !_stop.IsCancellationRequested;
        if (isBetter)
        {
            _connection = fresh;
            Log.Replaced(_log);
        }
        // Who still waits for the old one's answer is told that there is none, and repeats what it asked.
        await (isBetter ? old : fresh).DisposeAsync().ConfigureAwait(false);
    }

    private async Task<bool> HearsAsync(RedisConnection connection, ImmutableList<(RedisChannel Channel, Action<RedisValue> Listener)>? first = null)
    {
        try
        {
            if (first is not null) await connection.HearAsync(first, _options.Timeout).ConfigureAwait(false);
            return await connection.HearsAsync(_options.Timeout).ConfigureAwait(false);
        }
        catch (Exception e) when (IsTrouble(e))
        {
            return false;
        }
    }

    /// <summary>Writes to every place. Null: all is well.</summary>
    private async Task<string?> ProbeAsync(RedisConnection connection)
    {
        try
        {
            var database = connection.Database;
            await Task.WhenAll(_probes.Select(key => database.StringSetAsync(key, "1", flags: CommandFlags.DemandMaster))).WaitAsync(_options.Timeout).ConfigureAwait(false);
            return null;
        }
        catch (Exception e) when (IsTrouble(e))
        {
            Reconfigure();
            return Describe(e);
        }
    }

    /// <summary>Looks at what the servers are set to. What may lose sagas is said loudly at the start, and in the health for as long as it lasts.</summary>
    private async Task CheckAsync(bool starting)
    {
        var warnings = new List<string>();
        var low = false;
        foreach (var server in Connection.Primaries)
        {
            var name = RedisConnection.Name(server.EndPoint);
            try
            {
                var info = (await server.InfoAsync().WaitAsync(_options.Timeout).ConfigureAwait(false)).SelectMany(static section => section)
                    .GroupBy(static pair => pair.Key).ToDictionary(static pair => pair.Key, static pair => pair.Last().Value);
                if (info.GetValueOrDefault("aof_enabled") != "1")
                    warnings.Add($"Redis {name} keeps no append-only file: what was acknowledged is lost when it stops. Set appendonly yes.");
                if (info.GetValueOrDefault("maxmemory_policy") is { } policy && policy != "noeviction")
                    warnings.Add($"Redis {name} has maxmemory-policy {policy}: when memory runs out it throws sagas away. Set noeviction.");
                if (long.TryParse(info.GetValueOrDefault("maxmemory"), out var most) && most > 0 && long.TryParse(info.GetValueOrDefault("used_memory"), out var used) && used > most / 10 * 9)
                {
                    low = true;
                    warnings.Add($"Redis {name} uses {used >> 20} MiB of its {most >> 20} MiB: new sagas are refused so that open ones can end. Give it more memory.");
                }
            }
            catch (Exception e) when (IsTrouble(e))
            {
                warnings.Add($"What Redis {name} keeps could not be verified: {_options.Scrub(e.Message)} Allow INFO to this user, or see to it that appendonly is yes and maxmemory-policy noeviction.");
            }
        }
        var detail = warnings.Count == 0 ? null : string.Join(' ', warnings);
        if (detail is not null && (starting || detail != _checked.Detail))
            foreach (var warning in warnings) Log.Warned(_log, warning);
        _checked = detail is null ? StoreHealth.Good : new StoreHealth(low ? StoreLevel.Low : StoreLevel.Good, detail);
    }
}

internal static partial class Log
{
    [LoggerMessage(1, LogLevel.Warning, "The connection to Redis {Server} is lost: {Failure}. It is tried again.")]
    public static partial void ConnectionLost(ILogger log, string server, string failure);

    [LoggerMessage(2, LogLevel.Information, "The connection to Redis {Server} is back.")]
    public static partial void ConnectionRestored(ILogger log, string server);

    [LoggerMessage(7, LogLevel.Warning, "The connection to Redis did not come back by itself; a new one has taken its place.")]
    public static partial void Replaced(ILogger log);

    [LoggerMessage(3, LogLevel.Error, "Redis cannot be used: {Trouble} Nothing is acknowledged meanwhile; it goes on by itself.")]
    public static partial void Down(ILogger log, string trouble);

    [LoggerMessage(4, LogLevel.Information, "Redis can be used again.")]
    public static partial void Up(ILogger log);

    [LoggerMessage(5, LogLevel.Warning, "{Warning}")]
    public static partial void Warned(ILogger log, string warning);

    [LoggerMessage(6, LogLevel.Critical, "Partition {Partition} of Redis went back from commit {Seen} to {Now}: a failover or a restart has lost its last writes. Its sagas are read again and go on from there.")]
    public static partial void WentBack(ILogger log, int partition, long seen, long now);
}
