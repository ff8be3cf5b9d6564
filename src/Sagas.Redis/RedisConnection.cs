using System.Collections.Concurrent;
using System.Net;
using Microsoft.Extensions.Logging;
using StackExchange.Redis;

namespace Sagas.Redis;

/// <summary>
/// One connection, as the client library keeps it: two to each server, one to ask and one to hear. When one is lost while the next is being made, the library may forget the
/// new one and wait for it for ever (its PhysicalBridge.OnDisconnected): it answers nothing any more, or hears nothing, and another has to take its place.
/// </summary>
internal sealed class RedisConnection : IAsyncDisposable
{
    private readonly ConnectionMultiplexer _client;
    private readonly RedisChannel _echo;
    private readonly ConcurrentDictionary<string, bool> _lost = new();   // servers
    private long _heard;

    private RedisConnection(ConnectionMultiplexer client, string prefix, ILogger log)
    {
        _client = client;
        _echo = new RedisChannel($"{prefix}:echo:{Guid.NewGuid():N}", RedisChannel.PatternMode.Literal);
        // A server that is loading lets go of both with every question: what is said once is enough.
        client.ConnectionFailed += (_, failure) =>
        {
            if (failure.FailureType != ConnectionFailureType.Loading && _lost.TryAdd(Name(failure.EndPoint), true)) Log.ConnectionLost(log, Name(failure.EndPoint), failure.FailureType.ToString());
        };
        client.ConnectionRestored += (_, failure) =>
        {
            if (_lost.TryRemove(Name(failure.EndPoint), out var _)) Log.ConnectionRestored(log, Name(failure.EndPoint));
        };
    }

    public IDatabase Database => _client.GetDatabase();

    public ISubscriber Subscriber => _client.GetSubscriber();

    /// <summary>The servers that answer now and take writes.</summary>
    public IEnumerable<IServer> Primaries => _client.GetEndPoints().Select(endpoint => _client.GetServer(endpoint)).Where(static server => server.IsConnected && !server.IsSlave);

    /// <summary>Connects, or returns after the time for that and goes on trying.</summary>
    public static async Task<RedisConnection> OpenAsync(ConfigurationOptions settings, string prefix, ILogger log) =>
        new(await ConnectionMultiplexer.ConnectAsync(settings).ConfigureAwait(false), prefix, log);

    /// <summary>Has what comes on a channel told to a listener. Returns when Redis knows.</summary>
    /// <exception cref="TimeoutException">It did not say so in time.</exception>
    public async Task HearAsync(IEnumerable<(RedisChannel Channel, Action<RedisValue> Listener)> all, TimeSpan timeout)
    {
        foreach (var (channel, listener) in all.Append((_echo, static _ => { })))
        {
            await Subscriber.SubscribeAsync(channel, (_, message) =>
            {
                Interlocked.Increment(ref _heard);
                listener(message);
            }).WaitAsync(timeout).ConfigureAwait(false);
        }
    }

    /// <summary>Whether anything is heard, if only what is said here for that.</summary>
    public async Task<bool> HearsAsync(TimeSpan timeout)
    {
        var before = Interlocked.Read(ref _heard);
        var since = TimeProvider.System.GetTimestamp();
        await Subscriber.PublishAsync(_echo, "").WaitAsync(timeout).ConfigureAwait(false);
        // What came before it is told first, and may take its time.
        while (Interlocked.Read(ref _heard) == before)
        {
            if (TimeProvider.System.GetElapsedTime(since) > timeout) return false;
            await Task.Delay(20).ConfigureAwait(false);
        }
        return true;
    }

    /// <summary>Asks every server who is who.</summary>
    public void Reconfigure() => _ = _client.ConfigureAsync();

    public static string Name(EndPoint? endpoint) => endpoint switch
    {
        DnsEndPoint dns => $"{dns.Host}:{dns.Port}",
        null => "?",
        _ => endpoint.ToString()!,
    };

    public async ValueTask DisposeAsync()
    {
        await _client.CloseAsync().ConfigureAwait(false);
        _client.Dispose();
    }
}
