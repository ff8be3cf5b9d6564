using System.Buffers;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>Changes as they become durable, as server-sent events. A client that reads slowly gets newest versions only; one that does not read is cut off.</summary>
internal static class Streams
{
    /// <summary>After so long without an event comes a comment, so that nobody on the way takes the stream for dead.</summary>
    public static readonly TimeSpan Heartbeat = TimeSpan.FromSeconds(15);

    /// <summary>How often numbers come.</summary>
    public static readonly TimeSpan StatsEvery = TimeSpan.FromSeconds(1);

    // No eye follows more than so many changes a second: what comes in between is sent together, each saga once.
    private static readonly TimeSpan FeedPause = TimeSpan.FromMilliseconds(200);

    /// <summary>One saga: <c>saga</c> now and at each version, <c>end</c> when it has ended; then the stream closes.</summary>
    public static async Task OneSaga(HttpContext http)
    {
        var id = Query.IdOf(http);
        var engine = http.Engine();
        // Listening begins before reading, so that no change falls between the two.
        using var listener = engine.Feed.Listen(id) ?? throw Problem.TooManyStreams().Thrown();
        var saga = await engine.FindAsync(id, http.RequestAborted) ?? throw Problem.UnknownSaga(id).Thrown();
        using var stop = Stopping(http);
        var stream = await EventStream.OpenAsync(http);
        if (stream is null) return;
        await ShowAsync(saga);
        try
        {
            var ready = listener.WaitAsync(stop.Token);
            while (!saga.Ended)
            {
                var quiet = !await WithinAsync(ready, Heartbeat, stream.Time, stop.Token);
                if (!quiet) ready = listener.WaitAsync(stop.Token);
                var changes = listener.Take(out var missed);
                foreach (var next in changes)
                    if (next.Version > saga.Version) await ShowAsync(saga = next);
                if (!quiet && missed == 0) continue;
                // Nothing was heard for long, or something was missed: what is kept has the last word.
                if (await engine.FindAsync(id, stop.Token) is { } kept && kept.Version > saga.Version) await ShowAsync(saga = kept);
                else if (quiet) await stream.CommentAsync();
            }
        }
        catch (OperationCanceledException)
        {
            // The client has left, or this node stops.
        }

        Task ShowAsync(SagaState shown) =>
            stream.SendAsync(shown.Ended ? "end" : "saga", json => SagaWriter.WriteSummary(json, shown, engine.DefinitionOf(shown)));
    }

    /// <summary>All sagas that match: <c>saga</c> at each change, <c>stats</c> each second, <c>missed</c> when there was more than this client could take.</summary>
    public static async Task Feed(HttpContext http)
    {
        var engine = http.Engine();
        using var listener = engine.Listen(Query.Filter(http.Request)) ?? throw Problem.TooManyStreams().Thrown();
        using var stop = Stopping(http);
        var stream = await EventStream.OpenAsync(http);
        if (stream is null) return;
        try
        {
            var ready = listener.WaitAsync(stop.Token);
            for (var statsAt = stream.Now; ;)
            {
                if (stream.Now >= statsAt)
                {
                    await SendStatsAsync(stream, engine, stop.Token);
                    statsAt = stream.Now + StatsEvery;
                }
                if (!await WithinAsync(ready, statsAt - stream.Now, stream.Time, stop.Token)) continue;
                ready = listener.WaitAsync(stop.Token);
                var changes = listener.Take(out var missed);
                foreach (var saga in Newest(changes))
                    stream.Add("saga", json => SagaWriter.WriteSummary(json, saga, engine.DefinitionOf(saga)));
                if (missed > 0) stream.Add("missed", json => Missed(json, missed));
                await stream.FlushAsync();
                await Task.Delay(FeedPause, stream.Time, stop.Token);
            }
        }
        catch (OperationCanceledException)
        {
            // The client has left, or this node stops.
        }
    }

    private static async Task SendStatsAsync(EventStream stream, SagaEngine engine, CancellationToken stop)
    {
        try
        {
            // Many watch: they share what was counted a moment ago.
            var stats = await engine.StatsAsync(StatsEvery / 2, stop);
            await stream.SendAsync("stats", json => Numbers.WriteStats(json, stats));
        }
        catch (StoreUnavailableException)
        {
            await stream.CommentAsync();
        }
    }

    private static void Missed(Utf8JsonWriter json, int count)
    {
        json.WriteStartObject();
        json.WriteNumber("count"u8, count);
        json.WriteEndObject();
    }

    private static IEnumerable<SagaState> Newest(IReadOnlyList<SagaState> changes) => changes.GroupBy(saga => saga.Id).Select(versions => versions.MaxBy(saga => saga.Version)!);

    /// <summary>Whether the task has ended within the time. Throws when it was cancelled.</summary>
    private static async Task<bool> WithinAsync(Task task, TimeSpan patience, TimeProvider time, CancellationToken cancel)
    {
        if (!task.IsCompleted)
        {
            using var enough = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            await Task.WhenAny(task, Task.Delay(patience > TimeSpan.Zero ? patience : TimeSpan.Zero, time, enough.Token));
            await enough.CancelAsync();
        }
        cancel.ThrowIfCancellationRequested();
        return task.IsCompleted;
    }

    private static CancellationTokenSource Stopping(HttpContext http) => CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted,
        http.RequestServices.GetService<IHostApplicationLifetime>()?.ApplicationStopping ?? CancellationToken.None);
}

/// <summary>The answer's body as a stream of events.</summary>
internal sealed class EventStream
{
    // A client that takes nothing for so long is gone or broken.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private readonly HttpContext _http;
    private readonly ArrayBufferWriter<byte> _buffer = new();

    private EventStream(HttpContext http) => _http = http;

    public TimeProvider Time { get; private init; } = TimeProvider.System;

    public DateTimeOffset Now => Time.GetUtcNow();

    /// <summary>Sends the head of the answer; null: only the head was asked for.</summary>
    public static async Task<EventStream?> OpenAsync(HttpContext http)
    {
        http.Response.ContentType = "text/event-stream";
        // Reverse proxies such as nginx would gather events.
        http.Response.Headers["X-Accel-Buffering"] = "no";
        http.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();
        if (HttpMethods.IsHead(http.Request.Method)) return null;
        var stream = new EventStream(http) { Time = http.RequestServices.GetService<TimeProvider>() ?? TimeProvider.System };
        stream._buffer.Write("retry: 2000\n\n"u8);
        await stream.FlushAsync();
        return stream;
    }

    public Task SendAsync(string name, Action<Utf8JsonWriter> write)
    {
        Add(name, write);
        return FlushAsync();
    }

    public Task CommentAsync()
    {
        _buffer.Write(": still here\n\n"u8);
        return FlushAsync();
    }

    /// <summary>Keeps an event for the next flush. JSON without payloads stands on one line.</summary>
    public void Add(string name, Action<Utf8JsonWriter> write)
    {
        Encoding.UTF8.GetBytes($"event: {name}\ndata: ", _buffer);
        using (var json = new Utf8JsonWriter(_buffer, Answer.Json)) write(json);
        _buffer.Write("\n\n"u8);
    }

    public async Task FlushAsync()
    {
        if (_buffer.WrittenCount == 0) return;
        try
        {
            await _http.Response.BodyWriter.WriteAsync(_buffer.WrittenMemory, CancellationToken.None).AsTask().WaitAsync(Patience, Time, _http.RequestAborted);
        }
        catch (TimeoutException)
        {
            _http.Abort();
            throw new OperationCanceledException("The client takes nothing.");
        }
        _buffer.ResetWrittenCount();
    }
}
