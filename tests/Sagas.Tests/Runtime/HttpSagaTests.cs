using System.Collections.Concurrent;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Sagas.Participants;
using Sagas.Runtime;
using Sagas.Tests.Participants;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Runtime;

/// <summary>Whole sagas over real HTTP: an engine without a bus, a definition in JSON, a participant on a loopback port.</summary>
public sealed class HttpSagaTests
{
    private const string Trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    [Fact]
    public async Task Handlers_in_CSharp_carry_out_a_definition_in_JSON()
    {
        var agent = new Agent();
        await using var web = await Web.OpenAsync(services => services.AddSingleton(agent).AddSagaParticipants(p => p.Add<Agent>("agency")), app => app.MapSagaParticipants());
        await using var node = await Node.OpenAsync(Trip(web.Url + "agency/"));
        var end = await node.RunAsync("trip-1", """{"flight":"LH1","price":7}""");
        end.Status.ShouldBe(SagaStatus.Completed);
        end.Result!.ToString().ShouldBe("""{"seat":"12A","hold":"h1"}""");
        agent.Calls.ShouldBe(["try LH1", "hold 7", "confirm LH1 12A"]);
    }

    [Fact]
    public async Task A_refusal_undoes_them_in_reverse_order()
    {
        var agent = new Agent();
        await using var web = await Web.OpenAsync(services => services.AddSingleton(agent).AddSagaParticipants(p => p.Add<Agent>("agency")), app =>
        {
            app.MapSagaParticipants();
            app.MapPost("/ship", http => { http.Response.StatusCode = 409; return http.Response.WriteAsync("""{"code":"no-ship","detail":"No ship sails."}"""); });
        });
        await using var node = await Node.OpenAsync(Trip(web.Url + "agency/", $$""", { "name": "ship", "after": ["money"], "step": { "do": "{{web.Url}}ship" }, "readOnly": true }"""));
        var end = await node.RunAsync("trip-1", """{"flight":"LH1","price":7}""");
        (end.Status, end.Error!.Code, end.Error.Message).ShouldBe((SagaStatus.Compensated, "no-ship", "No ship sails."));
        agent.Calls.ShouldBe(["try LH1", "hold 7", "release h1", "cancel LH1 12A"]);
    }

    [Fact]
    public async Task A_barrier_that_a_dropped_reply_has_passed_keeps_the_effect_single()
    {
        var agent = new Agent();
        var dropped = new ConcurrentDictionary<string, bool>();
        await using var web = await Web.OpenAsync(services => services.AddSingleton(agent).AddSagaParticipants(p => p.Add<Agent>("agency")), app =>
        {
            // After the handler has taken effect, the first reply of every phase is lost.
            app.Use(async (http, next) =>
            {
                var reply = http.Response.Body;
                using var lost = new MemoryStream();
                http.Response.Body = lost;
                await next(http);
                http.Response.Body = reply;
                if (dropped.TryAdd(http.Request.Path, true)) http.Abort();
                else await reply.WriteAsync(lost.ToArray());
            });
            app.MapSagaParticipants();
        });
        await using var node = await Node.OpenAsync(Trip(web.Url + "agency/"));
        (await node.RunAsync("trip-1", """{"flight":"LH1","price":7}""")).Status.ShouldBe(SagaStatus.Completed);
        agent.Calls.ToArray().ShouldBe(["try LH1", "hold 7", "confirm LH1 12A"], "each once, however often it was asked");
        dropped.Count.ShouldBe(3);
    }

    [Fact]
    public async Task Every_phase_retry_and_restart_sends_the_headers_again()
    {
        var heard = new BlockingCollection<Request>();
        var down = true;
        await using var web = await Web.OpenAsync(_ => { }, app => app.Run(async http =>
        {
            var request = new Request(http.Request.Path, await new StreamReader(http.Request.Body).ReadToEndAsync(), new HeaderDictionary(http.Request.Headers.ToDictionary()));
            heard.Add(request);
            if (request.Attempt == 1 || (request.Phase == "cancel" && down)) http.Response.StatusCode = 500;
            else if (request.Phase == "do") http.Response.StatusCode = 409;
            else if (request.Phase == "try") await http.Response.WriteAsync("""{"id":"12A"}""");
        }));
        var definition = $$"""
            { "name": "trip", "version": 3, "headers": { "X-Team": "travel", "X-Tier": "1" }, "steps": [
              { "name": "seat", "tcc": { "try": "{{web.Url}}seat/try", "cancel": "{{web.Url}}seat/cancel" }, "headers": { "X-Tier": "2" }, "retry": { "first": "PT0.01S", "max": "PT0.05S" } },
              { "name": "pay", "after": ["seat"], "step": { "do": "{{web.Url}}pay" }, "retry": { "first": "PT0.01S" } } ] }
            """;
        await using var store = new MemoryStore();
        await using (var node = await Node.OpenAsync(definition, store))
        {
            await node.StartAsync("t1", """{"a":1}""");
            foreach (var (phase, attempt) in new[] { ("try", 1), ("try", 2), ("do", 1), ("do", 2), ("cancel", 1) }) Check(heard.Take(), phase, attempt);
        }
        down = false;
        await using (var node = await Node.OpenAsync(definition, store))
        {
            (await node.EndAsync("t1")).Status.ShouldBe(SagaStatus.Compensated);
            var last = heard.ToArray()[^1];
            last.Attempt.ShouldBeGreaterThan(1);
            Check(last, "cancel", last.Attempt);
        }

        static void Check(Request request, string phase, int attempt)
        {
            var (headers, step) = (request.Headers, phase == "do" ? "pay" : "seat");
            (request.Phase, request.Attempt).ShouldBe((phase, attempt));
            headers["Saga-Id"].ToString().ShouldBe("t1");
            headers["Saga-Definition"].ToString().ShouldBe("trip");
            headers["Saga-Step"].ToString().ShouldBe(step);
            headers["Idempotency-Key"].ToString().ShouldBe($"t1/{step}/{phase}");
            headers["traceparent"].ToString().ShouldBe(Trace);
            headers["X-Team"].ToString().ShouldBe("travel");
            headers["X-Tier"].ToString().ShouldBe(step == "seat" ? "2" : "1", "the step's own word goes before the saga's");
            headers.ContentType.ToString().ShouldBe("application/json");
            request.Body.ShouldBe(phase == "cancel" ? """{"command":{"a":1},"result":{"id":"12A"}}""" : """{"a":1}""");
        }
    }

    [Theory]
    [InlineData("bus:inventory/reserve", null)]
    [InlineData("http://127.0.0.1:1/try", "bus:inventory/cancel")]
    public void A_node_without_a_bus_says_what_it_cannot_reach(string to, string? cancel)
    {
        var parsed = DefinitionJson.Parse(Encoding.UTF8.GetBytes($$"""{ "name": "order", "version": 1, "steps": [ { "name": "stock", "tcc": { "try": "{{to}}"{{(cancel is null ? "" : $", \"cancel\": \"{cancel}\"")}} } } ] }"""));
        new DefinitionCatalog([], [], 10, hasBus: false).Unreachable(parsed).ShouldHaveSingleItem().Message.ShouldContain("Step 'stock' of 'order' goes to the bus (queue sagas.inventory), and this node has none.");
        new DefinitionCatalog([], [], 10).Unreachable(parsed).ShouldBeEmpty();
    }

    private static string Trip(string at, string more = "") => $$"""
        { "name": "trip", "version": 1, "steps": [
          { "name": "seat", "tcc": { "try": "{{at}}reserve-seat/try", "confirm": "{{at}}reserve-seat/confirm", "cancel": "{{at}}reserve-seat/cancel" }, "input": { "flight": "$.input.flight" }, "retry": { "first": "PT0.01S" } },
          { "name": "money", "after": ["seat"], "step": { "do": "{{at}}hold-money", "compensate": "{{at}}release-money/compensate" }, "input": { "amount": "$.input.price" }, "retry": { "first": "PT0.01S" } }
          {{more}} ],
          "result": { "seat": "$.steps.seat.result.id", "hold": "$.steps.money.result.id" } }
        """;

    private sealed record Request(string Path, string Body, IHeaderDictionary Headers)
    {
        public string Phase => Headers["Saga-Phase"].ToString();
        public int Attempt => int.Parse(Headers["Saga-Attempt"].ToString());
    }

    /// <summary>An engine without a bus.</summary>
    private sealed class Node(IHost host) : IAsyncDisposable
    {
        private SagaEngine Engine => host.Services.GetRequiredService<SagaEngine>();

        public static async Task<Node> OpenAsync(string definition, ISagaStore? store = null)
        {
            var builder = Host.CreateEmptyApplicationBuilder(new());
            builder.Logging.SetMinimumLevel(LogLevel.None);
            builder.Services.AddSagas(s =>
            {
                s.AddSaga(DefinitionJson.Parse(Encoding.UTF8.GetBytes(definition))).Configure(o => o.Workers = 1);
                if (store is null) s.UseMemoryStore();
                else s.Services.AddSingleton(store);
            });
            var host = builder.Build();
            await host.StartAsync();
            return new Node(host);
        }

        public async Task StartAsync(string id, string input) =>
            (await Engine.StartAsync(new StartRequest("trip", Payload.Parse(input)) { Id = new SagaId(id), TraceParent = Trace })).Outcome.ShouldBe(StartOutcome.Started);

        public async Task<SagaState> EndAsync(string id) => (await Engine.WaitAsync(new SagaId(id), TimeSpan.FromSeconds(60)))!;

        public async Task<SagaState> RunAsync(string id, string input)
        {
            await StartAsync(id, input);
            return await EndAsync(id);
        }

        public async ValueTask DisposeAsync()
        {
            await host.StopAsync();
            host.Dispose();
        }
    }

    /// <summary>A web server on a loopback port.</summary>
    private sealed class Web(WebApplication app) : IAsyncDisposable
    {
        public string Url => app.Urls.First() + "/";

        public static async Task<Web> OpenAsync(Action<IServiceCollection> services, Action<WebApplication> map)
        {
            var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
            builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
            builder.Services.AddRoutingCore().AddLogging();
            services(builder.Services);
            var app = builder.Build();
            map(app);
            await app.StartAsync();
            return new Web(app);
        }

        public async ValueTask DisposeAsync()
        {
            await app.StopAsync();
            await app.DisposeAsync();
        }
    }
}
