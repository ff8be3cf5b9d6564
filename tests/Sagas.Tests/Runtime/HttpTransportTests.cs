using System.Net;
using System.Threading.Channels;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Runtime;

public sealed class HttpTransportTests
{
    private static readonly Phase[] Forward = [Phase.Try, Phase.Do, Phase.Check], Second = [Phase.Confirm, Phase.Cancel, Phase.Compensate];

    public static TheoryData<Phase, int, string, string> Answers()
    {
        var rows = new TheoryData<Phase, int, string, string>();
        foreach (var phase in Forward.Concat(Second))
        {
            var forward = Forward.Contains(phase);
            rows.Add(phase, 200, """{"id":1}""", """ok {"id":1}""");
            rows.Add(phase, 201, "[1,\n 2]", "ok [1,2]");
            rows.Add(phase, 204, "", "ok");
            rows.Add(phase, 200, "", "ok");
            rows.Add(phase, 200, "<html>", forward ? "error not-json" : "ok");
            rows.Add(phase, 202, "", "accepted 600");
            rows.Add(phase, 409, """{"code":"sold-out","detail":"Sold out."}""", forward ? "refused sold-out Sold out." : "error http-409");
            rows.Add(phase, 409, "No more seats", forward ? "refused refused No more seats" : "error http-409");
            foreach (var busy in new[] { 425, 429, 503 }) rows.Add(phase, busy, "", "busy");
            foreach (var no in new[] { 400, 404, 408, 422 }) rows.Add(phase, no, "no", forward ? $"refused http-{no} no" : $"error http-{no}");
            foreach (var fault in new[] { 302, 307, 500, 502, 504 }) rows.Add(phase, fault, "", $"error http-{fault}");
            rows.Add(phase, 507, "", forward ? "refused http-507" : "error http-507");   // the step says refuseOn 507
        }
        return rows;
    }

    [Theory, MemberData(nameof(Answers))]
    public async Task Every_answer_means_what_the_table_says(Phase phase, int status, string body, string means)
    {
        await using var desk = await HttpDesk.OpenAsync(async http =>
        {
            http.Response.StatusCode = status;
            if (status is 302 or 307) http.Response.Headers.Location = "/elsewhere";
            if (body.Length > 0) await http.Response.WriteAsync(body);
        });
        desk.Send(phase);
        var heard = await desk.HeardAsync();
        Said(heard).ShouldStartWith(means);
        if (heard is SagaEvent.Replied { Outcome: Outcome.Error } error) error.Message!.ShouldContain(desk.Url.Authority);
        if (means.StartsWith("error http-", StringComparison.Ordinal)) ((SagaEvent.Replied)heard).Message!.ShouldContain(status.ToString());
        desk.Calls.ShouldBe(1, "no redirect is followed");
    }

    [Theory, InlineData(409), InlineData(503)]
    public async Task A_refusal_or_a_busy_may_be_in_doubt(int status)
    {
        await using var desk = await HttpDesk.OpenAsync(http =>
        {
            http.Response.StatusCode = status;
            http.Response.Headers["Saga-In-Doubt"] = "true";
            return Task.CompletedTask;
        });
        desk.Send(Phase.Try);
        ((SagaEvent.Replied)await desk.HeardAsync()).InDoubt.ShouldBeTrue();
    }

    [Theory]
    [InlineData(202, "90", 90)]
    [InlineData(503, "7", 7)]
    [InlineData(429, "Sat, 21 Nov 2026 12:00:30 GMT", 30)]
    [InlineData(202, "Sat, 21 Nov 2026 12:00:30 GMT", 30)]
    [InlineData(425, "3", 3)]
    public async Task Retry_After_is_seconds_or_a_date(int status, string says, int seconds)
    {
        await using var desk = await HttpDesk.OpenAsync(http =>
        {
            http.Response.StatusCode = status;
            http.Response.Headers.RetryAfter = says;
            return Task.CompletedTask;
        });
        desk.Send(Phase.Try);
        var heard = await desk.HeardAsync();
        (heard is SagaEvent.Accepted accepted ? accepted.Within : ((SagaEvent.Replied)heard).RetryAfter).ShouldBe(TimeSpan.FromSeconds(seconds));
    }

    [Fact]
    public async Task Every_request_says_whose_it_is()
    {
        var seen = new TaskCompletionSource<(IHeaderDictionary Headers, string Method, string Body)>();
        await using var desk = await HttpDesk.OpenAsync(async http =>
            seen.SetResult((new HeaderDictionary(http.Request.Headers.ToDictionary()), http.Request.Method, await new StreamReader(http.Request.Body).ReadToEndAsync())));
        desk.Options.CallbackBaseUrl = new Uri("https://sagas.example.com/base/");
        desk.Send(Phase.Confirm, attempt: 3);
        var (headers, method, body) = await seen.Task;
        (method, body).ShouldBe(("POST", """{"a":1}"""));
        headers["Saga-Id"].ToString().ShouldBe("s1");
        headers["Saga-Definition"].ToString().ShouldBe("web");
        headers["Saga-Step"].ToString().ShouldBe("seat");
        headers["Saga-Phase"].ToString().ShouldBe("confirm");
        headers["Saga-Attempt"].ToString().ShouldBe("3");
        headers["Idempotency-Key"].ToString().ShouldBe("s1/seat/confirm");
        headers["traceparent"].ToString().ShouldBe(HttpDesk.Trace);
        headers["X-Shop"].ToString().ShouldBe("7", "the definition's own header");
        headers.ContentType.ToString().ShouldBe("application/json");
        headers["Saga-Callback"].ToString().ShouldBe("https://sagas.example.com/base/api/v1/sagas/s1/steps/seat/callback?phase=confirm&attempt=3");
        headers.ContainsKey("Cookie").ShouldBeFalse();
    }

    [Fact]
    public async Task A_timeout_cuts_the_request()
    {
        var begun = new TaskCompletionSource();
        var aborted = new TaskCompletionSource();
        await using var desk = await HttpDesk.OpenAsync(async http =>
        {
            http.RequestAborted.Register(() => aborted.SetResult());
            begun.SetResult();
            await aborted.Task;
        });
        desk.Send(Phase.Try);
        await begun.Task;
        desk.Time.Advance(TimeSpan.FromSeconds(10));
        await aborted.Task;
        Said(await desk.HeardAsync()).ShouldStartWith("error timeout");
    }

    [Fact]
    public async Task A_timeout_cuts_a_reply_that_stops_halfway()
    {
        var begun = new TaskCompletionSource();
        var aborted = new TaskCompletionSource();
        await using var desk = await HttpDesk.OpenAsync(async http =>
        {
            http.RequestAborted.Register(() => aborted.SetResult());
            http.Response.ContentLength = 100;
            await http.Response.WriteAsync("{\"id\":");
            await http.Response.Body.FlushAsync();
            begun.SetResult();
            await aborted.Task;
        });
        desk.Send(Phase.Confirm);
        await begun.Task;
        desk.Time.Advance(TimeSpan.FromSeconds(10));
        await aborted.Task;
        Said(await desk.HeardAsync()).ShouldStartWith("error timeout");
    }

    [Fact]
    public async Task A_cut_connection_is_an_unknown_outcome()
    {
        await using var desk = await HttpDesk.OpenAsync(http => { http.Abort(); return Task.CompletedTask; });
        desk.Send(Phase.Do);
        Said(await desk.HeardAsync()).ShouldStartWith("error connection");
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task A_reply_over_the_limit_is_an_error(bool declared)
    {
        await using var desk = await HttpDesk.OpenAsync(async http =>
        {
            if (declared) http.Response.ContentLength = Decider.MaxPayload + 1;
            await http.Response.WriteAsync(new string('1', Decider.MaxPayload + 1));
        });
        desk.Send(Phase.Confirm);
        Said(await desk.HeardAsync()).ShouldStartWith("error reply-too-large");
    }

    [Fact]
    public async Task A_slow_host_holds_up_itself_and_nobody_else()
    {
        var open = new TaskCompletionSource();
        var (running, most) = (0, 0);
        await using var slow = await HttpDesk.OpenAsync(async _ =>
        {
            most = Math.Max(most, Interlocked.Increment(ref running));
            await open.Task;
            Interlocked.Decrement(ref running);
        });
        slow.Options.Http.PerHost = 2;
        await using var fast = await HttpDesk.OpenAsync(_ => Task.CompletedTask);
        for (var i = 1; i <= 5; i++) slow.Send(Phase.Try, attempt: i);
        slow.Send(Phase.Try, attempt: 9, url: fast.Url);
        ((SagaEvent.Replied)await slow.HeardAsync()).Attempt.ShouldBe(9);
        open.SetResult();
        var heard = new List<int>();
        for (var i = 1; i <= 5; i++) heard.Add(((SagaEvent.Replied)await slow.HeardAsync()).Attempt);
        heard.Order().ShouldBe([1, 2, 3, 4, 5]);
        most.ShouldBeLessThanOrEqualTo(2);
    }

    [Fact]
    public async Task Only_allowed_hosts_are_called()
    {
        await using var desk = await HttpDesk.OpenAsync(_ => Task.CompletedTask);
        desk.Options.Http.AllowedHosts.Add("bank.example.com");
        desk.Send(Phase.Try);
        Said(await desk.HeardAsync()).ShouldStartWith("error host-not-allowed");
        desk.Calls.ShouldBe(0);
        desk.Options.Http.AllowedHosts.Add(desk.Url.Authority);
        desk.Send(Phase.Try);
        Said(await desk.HeardAsync()).ShouldBe("ok");
    }

    [Theory]
    [InlineData("bank.test", "127.0.0.1 192.0.2.1", true)]
    [InlineData("BANK.test:PORT", "127.0.0.1 192.0.2.1", true)]
    [InlineData("127.0.0.1", "127.0.0.1", true)]
    [InlineData("127.0.0.1:PORT", "127.0.0.1", true)]
    [InlineData("127.0.0.1:1", "127.0.0.1", false)]
    [InlineData("127.0.0.0/8", "127.0.0.1", true)]
    [InlineData("127.0.0.0/8", "::ffff:127.0.0.1", true)]
    [InlineData("127.0.0.0/8", "192.0.2.1", false)]
    [InlineData("127.0.0.0/8", "127.0.0.1 192.0.2.1", false)]
    [InlineData("10.0.0.0/8", "127.0.0.1", false)]
    [InlineData("*", "127.0.0.1 192.0.2.1", true)]
    public async Task A_host_is_listed_by_its_name_or_by_every_address_of_it(string listed, string addresses, bool allowed)
    {
        await using var desk = await HttpDesk.OpenAsync(_ => Task.CompletedTask);
        desk.Resolves = addresses;
        desk.Options.Http.AllowedHosts.Add(listed.Replace("PORT", $"{desk.Url.Port}"));
        desk.Send(Phase.Try, url: new Uri($"http://bank.test:{desk.Url.Port}/"));
        var heard = Said(await desk.HeardAsync());
        if (!allowed) heard.ShouldStartWith($"error host-not-allowed bank.test:{desk.Url.Port} ({addresses.Replace(" ", ", ")}) is not in Sagas:Http:AllowedHosts.");
        else heard.ShouldBe("ok");
        desk.Calls.ShouldBe(heard == "ok" ? 1 : 0);
    }

    [Theory]
    [InlineData("127.0.0.1", true)]
    [InlineData("::1 127.0.0.1", true)]
    [InlineData("192.0.2.1", false)]
    [InlineData("127.0.0.1 192.0.2.1", false)]
    public async Task A_name_that_leads_elsewhere_is_no_way_out_of_this_machine(string addresses, bool allowed)
    {
        await using var desk = await HttpDesk.OpenAsync(_ => Task.CompletedTask);
        desk.Definition.LoopbackOnly = true;
        desk.Resolves = addresses;
        desk.Send(Phase.Try, url: new Uri($"http://bank.test:{desk.Url.Port}/"));
        var heard = Said(await desk.HeardAsync());
        if (allowed) heard.ShouldBe("ok");
        else heard.ShouldContain("is not this machine, and a definition put over REST may call no other. Nothing was sent");
        desk.Calls.ShouldBe(allowed ? 1 : 0);
    }

    [Fact]
    public async Task A_list_holds_for_definitions_put_over_REST_too()
    {
        await using var desk = await HttpDesk.OpenAsync(_ => Task.CompletedTask);
        desk.Definition.LoopbackOnly = true;
        desk.Options.Http.AllowedHosts.Add("bank.test");
        desk.Send(Phase.Try);
        Said(await desk.HeardAsync()).ShouldStartWith("error host-not-allowed 127.0.0.1");
        desk.Options.Http.AllowedHosts.Add("127.0.0.1");
        desk.Send(Phase.Try);
        Said(await desk.HeardAsync()).ShouldBe("ok");
        desk.Resolves = "192.0.2.1";
        desk.Send(Phase.Try, url: new Uri("http://bank.test:9/"));
        Said(await desk.HeardAsync()).ShouldStartWith("error host-not-allowed bank.test:9 (192.0.2.1) is not this machine");
    }

    [Theory, InlineData("bank.test"), InlineData("192.0.2.0/24"), InlineData("*"), InlineData(null)]
    public async Task A_definition_put_over_REST_may_call_the_hosts_named_for_it(string? named)
    {
        await using var desk = await HttpDesk.OpenAsync(_ => Task.CompletedTask);
        desk.Definition.LoopbackOnly = true;
        if (named is not null) desk.Options.Http.RestHosts.Add(named);
        desk.Resolves = "127.0.0.1 192.0.2.1";
        desk.Send(Phase.Try, url: new Uri($"http://bank.test:{desk.Url.Port}/"));
        Said(await desk.HeardAsync()).ShouldStartWith(named is null ? "error host-not-allowed" : "ok");
    }

    [Fact]
    public async Task What_an_error_says_is_passed_on()
    {
        await using var desk = await HttpDesk.OpenAsync(async http =>
        {
            http.Response.StatusCode = 500;
            await http.Response.WriteAsync("""{"detail":"The ledger is locked."}""");
        });
        desk.Send(Phase.Confirm);
        Said(await desk.HeardAsync()).ShouldEndWith("answered 500: The ledger is locked.");
    }

    [Fact]
    public async Task A_definition_for_this_machine_calls_no_other()
    {
        await using var desk = await HttpDesk.OpenAsync(_ => Task.CompletedTask);
        desk.Definition.LoopbackOnly = true;
        desk.Send(Phase.Try, url: new Uri("http://192.0.2.1:9/"));
        Said(await desk.HeardAsync()).ShouldStartWith("error host-not-allowed");
        desk.Send(Phase.Try, url: new Uri("http://[::ffff:192.0.2.1]:9/"));
        Said(await desk.HeardAsync()).ShouldStartWith("error host-not-allowed");
        desk.Send(Phase.Try);
        Said(await desk.HeardAsync()).ShouldBe("ok");
    }

    private static string Said(SagaEvent heard) => heard switch
    {
        SagaEvent.Accepted accepted => $"accepted {accepted.Within.TotalSeconds}",
        SagaEvent.Replied { Outcome: Outcome.Ok } ok => $"ok {ok.Result}".Trim(),
        SagaEvent.Replied { Outcome: Outcome.Busy } => "busy",
        SagaEvent.Replied reply => $"{reply.Outcome.Word()} {reply.Code} {reply.Message}",
        _ => heard.ToString(),
    };

    /// <summary>A participant on a loopback port, and a transport whose engine is the test.</summary>
    private sealed class HttpDesk : IAsyncDisposable
    {
        public const string Trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        private readonly Channel<SagaEvent> _heard = Channel.CreateUnbounded<SagaEvent>();
        private readonly WebApplication _app;
        private readonly HttpTransport _transport;
        private int _calls;

        private HttpDesk(RequestDelegate answer)
        {
            var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
            builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
            builder.Services.AddLogging();
            _app = builder.Build();
            _app.Run(http =>
            {
                Interlocked.Increment(ref _calls);
                return answer(http);
            });
            var nowhere = new HttpEndpoint(new Uri("http://127.0.0.1:1/"));
            Definition = new SagaDefinition("web", 1,
            [
                new StepDefinition
                {
                    Index = 0, Name = "seat", Kind = StepKind.Tcc, Forward = nowhere, Confirm = nowhere, Undo = nowhere, Map = data => data.Input,
                    Headers = [new("X-Shop", "7")], RefuseOn = [507],
                },
            ], null, null);
            _transport = new HttpTransport(Options, _ => Definition, (_, happened, _) => _heard.Writer.WriteAsync(happened), Time, NullLogger.Instance,
                (host, cancel) => Resolves is null ? Dns.GetHostAddressesAsync(host, cancel) : Task.FromResult(Resolves.Split(' ').Select(IPAddress.Parse).ToArray()));
        }

        /// <summary>What every host name leads to; null: the system says.</summary>
        public string? Resolves { get; set; }


        public SagasOptions Options { get; } = new();
        public ManualTime Time { get; } = new();
        public SagaDefinition Definition { get; }
        public int Calls => _calls;
        public Uri Url => new(_app.Urls.First());

        public static async Task<HttpDesk> OpenAsync(RequestDelegate answer)
        {
            var desk = new HttpDesk(answer);
            await desk._app.StartAsync();
            return desk;
        }

        public void Send(Phase phase, int attempt = 1, Uri? url = null)
        {
            var saga = new SagaState { Id = new SagaId("s1"), Definition = "web", DefinitionVersion = 1, Input = Payload.Null, TraceParent = Trace };
            var to = url ?? Url;
            _transport.Send(saga, new Effect.Send("seat", new HttpEndpoint(to), phase, attempt, Payload.Parse("""{"a":1}"""), Time.GetUtcNow().AddSeconds(10)), to);
        }

        public async Task<SagaEvent> HeardAsync() => await _heard.Reader.ReadAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(30));

        public async ValueTask DisposeAsync()
        {
            _transport.Stop();
            await _app.DisposeAsync();
        }
    }
}
