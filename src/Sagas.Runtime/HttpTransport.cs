using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Microsoft.Extensions.Logging;

namespace Sagas.Runtime;

// A committed command goes out as one POST, and what comes of it back through the engine's own door as an event. As with
// the bus, nothing here is durable: what is lost on the way is asked again under the same key when its time is over.
//
//   answer                   try, do, check                    confirm, cancel, compensate
//   -----------------------  --------------------------------  ---------------------------
//   a status in refuseOn     refused                           by the rest of the table
//   202                      accepted: the outcome comes later the same
//   2xx with JSON, empty     ok with that result, with null    the same
//   2xx, not JSON            error                             ok
//   409                      refused                           error
//   425, 429, 503            busy                              busy
//   another 4xx              refused                           error
//   all else, none in time   error                             error
//   over 256 KiB             error                             error

/// <summary>Calls HTTP participants.</summary>
internal sealed class HttpTransport(SagasOptions options, Func<SagaState, SagaDefinition?> definitionOf, Func<SagaId, SagaEvent, CancellationToken, ValueTask> post,
    TimeProvider time, ILogger log, Func<string, CancellationToken, Task<IPAddress[]>>? resolve = null)
{
    private const int MaxReply = Decider.MaxPayload;
    private const int MaxReason = 1000;
    private static readonly TimeSpan LongestWait = TimeSpan.FromDays(30);
    private static readonly string[] ThisMachine = ["127.0.0.0/8", "::1"];
    // Two pools: a connection that was opened for anybody must not serve a definition that was put over REST.
    private readonly HttpMessageInvoker _anywhere = new(Handler((to, cancel) => ConnectAsync(to, options.Http, isRest: false, resolve ?? Dns.GetHostAddressesAsync, cancel))),
        _rest = new(Handler((to, cancel) => ConnectAsync(to, options.Http, isRest: true, resolve ?? Dns.GetHostAddressesAsync, cancel)));
    private readonly ConcurrentDictionary<string, Lane> _lanes = new(StringComparer.OrdinalIgnoreCase);
    private readonly CancellationTokenSource _stop = new();

    /// <summary>How many commands wait for each host.</summary>
    public IEnumerable<(string Destination, int Depth)> Depths => _lanes.Select(static lane => (lane.Key, lane.Value.Depth));

    /// <summary>Sends when its host has room. Returns at once.</summary>
    public void Send(SagaState saga, Effect.Send send, Uri url) =>
        _lanes.GetOrAdd($"{url.Scheme}://{url.Authority}", static (host, transport) => new Lane(transport, host), this).Add(new Call(saga, send, url));

    /// <summary>Cuts what is under way: nobody hears its outcome any more.</summary>
    public void Stop() => _stop.Cancel();

    private sealed record Call(SagaState Saga, Effect.Send Send, Uri Url)
    {
        public SagaEvent Reply(Outcome outcome, Payload? result = null, string? code = null, string? message = null, TimeSpan? retryAfter = null) =>
            new SagaEvent.Replied(Send.Step, Send.Phase, Send.Attempt, outcome, result, code, message, retryAfter);

        public SagaEvent Error(string code, string message) => Reply(Outcome.Error, code: code, message: message);

        public bool Forward => Send.Phase is Phase.Try or Phase.Do or Phase.Check;
    }

    /// <summary>The calls to one host and port: so many at a time, the others wait here and hold up no other host.</summary>
    private sealed class Lane(HttpTransport transport, string host)
    {
        private readonly Lock _lock = new();
        private readonly Queue<Call> _waiting = new();
        private readonly LaneLimit _limit = new(host, transport.Log);
        private int _running;

        public int Depth
        {
            get { lock (_lock) return _waiting.Count; }
        }

        public void Add(Call call)
        {
            lock (_lock)
            {
                if (_running >= transport.PerHost)
                {
                    if (_limit.HasRoom(_waiting.Count)) _waiting.Enqueue(call);
                    return;
                }
                _running++;
            }
            _ = Task.Run(() => CallAllAsync(call));
        }

        private async Task CallAllAsync(Call? call)
        {
            for (; call is not null; call = Next()) await transport.CallAsync(call).ConfigureAwait(false);
        }

        private Call? Next()
        {
            lock (_lock)
            {
                if (_waiting.TryDequeue(out var next)) return next;
                _running--;
                return null;
            }
        }
    }

    private int PerHost => options.Http.PerHost;

    private ILogger Log => log;

    /// <summary>One call from its request to the event that comes of it. Never throws.</summary>
    private async Task CallAsync(Call call)
    {
        try
        {
            var left = call.Send.Deadline - time.GetUtcNow();
            if (left <= TimeSpan.Zero || _stop.IsCancellationRequested) return;
            // A timer cannot be set further ahead than this; the engine's own counts all the same.
            using var late = new CancellationTokenSource(left < LongestWait ? left : LongestWait, time);
            using var cut = CancellationTokenSource.CreateLinkedTokenSource(late.Token, _stop.Token);
            var happened = await AskAsync(call, late.Token, cut.Token).ConfigureAwait(false);
            if (happened is SagaEvent.Replied { Outcome: Outcome.Error } failed)
                Failed(call, failed.Code!, failed.Message!);
            await post(call.Saga.Id, happened, _stop.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // The node stops: the saga is asked again when it is opened.
        }
        catch (Exception e)
        {
            Failed(call, "transport", e.Message);
        }
    }

    /// <summary>A warning once; that it fails again and again shows in the saga, and when it is given up or stuck.</summary>
    private void Failed(Call call, string code, string message) =>
        log.HttpFailed(call.Send.Attempt == 1 ? LogLevel.Warning : LogLevel.Information, call.Saga.Id, call.Send.Step, call.Send.Phase, call.Send.Attempt, code, message);

    private async Task<SagaEvent> AskAsync(Call call, CancellationToken late, CancellationToken cut)
    {
        var host = call.Url.Authority;
        try
        {
            var definition = definitionOf(call.Saga);
            var step = definition?.Find(call.Send.Step);
            using var request = Request(call, step);
            var pool = definition is { LoopbackOnly: true } ? _rest : _anywhere;
            using var response = await pool.SendAsync(request, cut).ConfigureAwait(false);
            var heard = await HeardAsync(call, step, host, response, cut).ConfigureAwait(false);
            return heard is SagaEvent.Replied { Outcome: Outcome.Refused or Outcome.Busy } reply && response.Headers.Contains("Saga-In-Doubt") ? reply with { InDoubt = true } : heard;
        }
        catch (Exception) when (late.IsCancellationRequested)
        {
            return call.Error("timeout", $"{host} gave no answer before the attempt's time was over.");
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            return e is HostNotAllowedException or { InnerException: HostNotAllowedException }
                ? call.Error("host-not-allowed", Reason(e))
                : call.Error("connection", $"{host} gave no answer: {Reason(e)}");
        }
    }

    private HttpRequestMessage Request(Call call, StepDefinition? step)
    {
        var (saga, send) = (call.Saga, call.Send);
        var content = new ReadOnlyMemoryContent(send.Payload.Utf8);
        var request = new HttpRequestMessage(HttpMethod.Post, call.Url) { Content = content };
        Set("Content-Type", "application/json");
        foreach (var (name, value) in step?.Headers ?? []) Set(name, value);
        Set("Saga-Id", saga.Id.Value);
        Set("Saga-Definition", saga.Definition);
        Set("Saga-Step", send.Step);
        Set("Saga-Phase", send.Phase.Word());
        Set("Saga-Attempt", send.Attempt.ToString(CultureInfo.InvariantCulture));
        Set("Idempotency-Key", Wire.Key(saga.Id.Value, send.Step, send.Phase));
        if (saga.TraceParent is { } trace) Set("traceparent", trace);
        if (options.CallbackBaseUrl is { } root)
            Set("Saga-Callback", string.Create(CultureInfo.InvariantCulture,
                $"{root.AbsoluteUri.TrimEnd('/')}/api/v1/sagas/{Uri.EscapeDataString(saga.Id.Value)}/steps/{Uri.EscapeDataString(send.Step)}/callback?phase={send.Phase.Word()}&attempt={send.Attempt}"));
        return request;

        // The last word on a header is the engine's.
        void Set(string name, string value)
        {
            HttpHeaders headers = name.StartsWith("Content-", StringComparison.OrdinalIgnoreCase) ? content.Headers : request.Headers;
            headers.Remove(name);
            headers.TryAddWithoutValidation(name, value);
        }
    }

    private async Task<SagaEvent> HeardAsync(Call call, StepDefinition? step, string host, HttpResponseMessage response, CancellationToken cut)
    {
        var status = (int)response.StatusCode;
        var send = call.Send;
        var refused = call.Forward && step?.RefuseOn.Contains(status) == true;
        switch (status)
        {
            case 202 when !refused:
                return new SagaEvent.Accepted(send.Step, send.Phase, send.Attempt, RetryAfter(response) ?? step?.CallbackWithin ?? StepDefinition.DefaultCallbackWithin);
            case 425 or 429 or 503 when !refused:
                return call.Reply(Outcome.Busy, message: $"{host} is busy ({status}).", retryAfter: RetryAfter(response));
            case >= 400 and < 500 when call.Forward:
                refused = true;
                break;
            case < 200 or >= 300 when !refused:
                var said = await BodyAsync(response, cut).ConfigureAwait(false) is { Length: > 0 } text ? ReasonOf(text).Reason : "";
                return call.Error($"http-{status}", $"{host} answered {status}{(status is >= 300 and < 400 ? ", and redirects are not followed" : "")}{(said.Length > 0 ? ": " + said : ".")}");
        }
        if (await BodyAsync(response, cut).ConfigureAwait(false) is not { } body)
            return call.Error("reply-too-large", $"{host} answered {status} with more than {MaxReply} bytes. Answer with less, or with a reference to where the data is kept.");
        if (refused) return Refusal(call, host, status, body);
        if (body.Length == 0) return call.Reply(Outcome.Ok);
        if (Json(body) is { } result) return call.Reply(Outcome.Ok, result);
        return call.Forward
            ? call.Error("not-json", $"{host} answered {status} with a body that is not JSON.")
            : call.Reply(Outcome.Ok);
    }

    private static SagaEvent Refusal(Call call, string host, int status, byte[] body)
    {
        var (code, reason) = ReasonOf(body);
        return call.Reply(Outcome.Refused, code: code ?? (status == 409 ? "refused" : $"http-{status}"), message: reason.Length > 0 ? reason : $"{host} answered {status}.");
    }

    /// <summary>The reason is the body's <c>detail</c> or its text; the code is the body's <c>code</c>.</summary>
    private static (string? Code, string Reason) ReasonOf(byte[] body)
    {
        string? code = null, reason = null;
        if (Json(body) is { } json)
        {
            using var document = JsonDocument.Parse(json.Utf8);
            var root = document.RootElement;
            if (root.ValueKind == JsonValueKind.Object) (code, reason) = (Text(root, "code"), Text(root, "detail"));
            else if (root.ValueKind == JsonValueKind.String) reason = root.GetString();
        }
        reason ??= Encoding.UTF8.GetString(body).Trim();
        if (reason.Length > MaxReason) reason = reason[..(char.IsHighSurrogate(reason[MaxReason - 1]) ? MaxReason - 1 : MaxReason)];
        return (code, reason);

        static string? Text(JsonElement from, string name) =>
            from.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String && value.GetString() is { Length: > 0 and <= MaxReason } text ? text : null;
    }

    /// <summary>The whole body; null when it is over the limit, of which no more is read.</summary>
    private static async Task<byte[]?> BodyAsync(HttpResponseMessage response, CancellationToken cut)
    {
        if (response.Content.Headers.ContentLength > MaxReply) return null;
        var stream = await response.Content.ReadAsStreamAsync(cut).ConfigureAwait(false);
        var buffer = new byte[(int)(response.Content.Headers.ContentLength ?? 4095) + 1];
        var count = 0;
        while (await stream.ReadAsync(buffer.AsMemory(count), cut).ConfigureAwait(false) is > 0 and var read)
        {
            count += read;
            if (count > MaxReply) return null;
            if (count == buffer.Length) Array.Resize(ref buffer, Math.Min(buffer.Length * 2, MaxReply + 1));
        }
        return buffer[..count];
    }

    /// <summary>The body as one JSON value on one line; null: it is none.</summary>
    private static Payload? Json(byte[] body)
    {
        if (!Utf8.IsValid(body)) return null;
        try
        {
            using var document = JsonDocument.Parse(body);
            if (body.AsSpan().IndexOfAny((byte)'\n', (byte)'\r') < 0) return new Payload(body);
            using var line = new MemoryStream(body.Length);
            using (var json = new Utf8JsonWriter(line, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping })) document.RootElement.WriteTo(json);
            return new Payload(line.ToArray());
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    /// <summary>Seconds or a date; null: none that says anything, and then the step's own word holds.</summary>
    private TimeSpan? RetryAfter(HttpResponseMessage response)
    {
        var wait = response.Headers.RetryAfter is not { } said ? null : said.Delta ?? said.Date - time.GetUtcNow();
        return wait is not { Ticks: > 0 } ? null : wait > LongestWait ? LongestWait : wait;
    }

    private static string Reason(Exception e) => e is HttpRequestException { InnerException: { } inner } ? inner.Message : e.Message;

    private static SocketsHttpHandler Handler(Func<DnsEndPoint, CancellationToken, ValueTask<Stream>> connect) => new()
    {
        AllowAutoRedirect = false, UseCookies = false, UseProxy = false, AutomaticDecompression = DecompressionMethods.None,
        // A host that moves is found again; the trace that counts is the saga's.
        PooledConnectionLifetime = TimeSpan.FromMinutes(2), ActivityHeadersPropagator = null,
        ConnectCallback = (context, cancel) => connect(context.DnsEndPoint, cancel),
    };

    /// <summary>
    /// Connects to a host that is listed by its name, or all of whose addresses are: then to the addresses looked at, so that a name that answers differently
    /// the second time gains nothing.
    /// </summary>
    private static async ValueTask<Stream> ConnectAsync(DnsEndPoint to, HttpOptions options, bool isRest, Func<string, CancellationToken, Task<IPAddress[]>> resolve, CancellationToken cancel)
    {
        IPAddress[]? addresses = null;
        if (options.AllowedHosts.Count > 0) await RequireAsync(options.AllowedHosts, "is not in Sagas:Http:AllowedHosts. Nothing was sent; add it there, or call another host.").ConfigureAwait(false);
        if (isRest)
            await RequireAsync([.. ThisMachine, .. options.RestHosts], "is not this machine, and a definition put over REST may call no other. Nothing was sent; name the host in "
                + "Sagas:Http:RestHosts, or load the definition from a file.").ConfigureAwait(false);
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await (addresses is null ? socket.ConnectAsync(to, cancel) : socket.ConnectAsync(addresses, to.Port, cancel)).ConfigureAwait(false);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }

        async Task RequireAsync(IList<string> hosts, string otherwise)
        {
            addresses ??= [.. (await resolve(to.Host, cancel).ConfigureAwait(false)).Select(address => address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address)];
            if (hosts.Any(host => Names(host, to))) return;
            if (addresses.Length > 0 && Array.TrueForAll(addresses, address => hosts.Any(host => Holds(host, address, to.Port)))) return;
            var where = IPAddress.TryParse(to.Host, out _) ? $"{to.Host}:{to.Port}" : $"{to.Host}:{to.Port} ({string.Join(", ", addresses.AsEnumerable())})";
            throw new HostNotAllowedException($"{where} {otherwise}");
        }
    }

    private static bool Names(string entry, DnsEndPoint to) =>
        entry == "*" || entry.Equals(to.Host, StringComparison.OrdinalIgnoreCase) || entry.Equals($"{to.Host}:{to.Port}", StringComparison.OrdinalIgnoreCase);

    private static bool Holds(string entry, IPAddress address, int port) =>
        IPNetwork.TryParse(entry, out var network) ? network.Contains(address)
        : IPAddress.TryParse(entry, out var one) ? one.Equals(address)
        : IPEndPoint.TryParse(entry, out var both) && both.Address.Equals(address) && both.Port == port;

    private sealed class HostNotAllowedException(string message) : IOException(message);
}
