using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Sagas.Participants;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Participants;

public sealed class ParticipantEndpointsTests
{
    private const string Seat = "/agency/reserve-seat", Hold = "/agency/hold-money", Release = "/agency/release-money/compensate";
    private const string Flight = """{"flight":"LH1"}""", Tried = """{"command":{"flight":"LH1"},"result":{"id":"12A"}}""", Untold = """{"command":{"flight":"LH1"},"result":null}""";

    [Fact]
    public async Task A_reservation_is_tried_and_confirmed()
    {
        await using var agency = await Agency.OpenAsync();
        (await agency.PostAsync(Seat + "/try", Flight)).ShouldBe((200, """{"id":"12A"}"""));
        (await agency.PostAsync(Seat + "/confirm", Tried)).ShouldBe((204, ""));
        agency.ShouldHaveCalled("try LH1", "confirm LH1 12A");
    }

    [Fact]
    public async Task The_handler_hears_whom_it_is_for()
    {
        await using var agency = await Agency.OpenAsync();
        CommandContext? heard = null;
        agency.Agent.Try = (context, _) => { heard = context; return Task.FromResult(new Seat("1")); };
        const string trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        await agency.PostAsync(Seat + "/try", Flight, headers: [("Saga-Attempt", "3"), ("traceparent", trace), ("Idempotency-Key", "s1/seat/try")]);
        heard.ShouldBe(new CommandContext("s1", "seat", Phase.Try, 3, "s1/seat/try", trace, null));
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task A_repeat_gets_the_first_answer_and_does_not_reach_the_handler(bool file)
    {
        using var folder = new TemporaryFolder();
        var agent = new Agent();
        await using (var agency = await Agency.OpenAsync(p => Remember(p, file ? folder.Path : null), agent))
            for (var attempt = 1; attempt <= 3; attempt++)
            {
                (await agency.PostAsync(Seat + "/try", Flight, headers: [("Saga-Attempt", $"{attempt}")])).ShouldBe((200, """{"id":"12A"}"""));
                (await agency.PostAsync(Hold, """{"amount":7}""", "money")).ShouldBe((200, """{"id":"h1"}"""));
            }
        if (file)
            await using (var agency = await Agency.OpenAsync(p => Remember(p, folder.Path), agent))
                (await agency.PostAsync(Seat + "/try", Flight)).ShouldBe((200, """{"id":"12A"}"""), "a restart forgets nothing");
        agent.Calls.ShouldBe(["try LH1", "hold 7"]);
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task A_cancel_before_its_try_takes_no_effect_and_stops_the_late_try(bool file)
    {
        using var folder = new TemporaryFolder();
        var agent = new Agent();
        await using (var agency = await Agency.OpenAsync(p => Remember(p, file ? folder.Path : null), agent))
        {
            (await agency.PostAsync(Seat + "/cancel", Untold)).ShouldBe((204, ""));
            (await agency.PostAsync(Seat + "/cancel", Untold)).ShouldBe((204, ""));
            var late = await agency.PostAsync(Seat + "/try", Flight);
            late.Status.ShouldBe(409);
            Problem(late.Body).Code.ShouldBe("cancelled");
        }
        if (file)
            await using (var agency = await Agency.OpenAsync(p => Remember(p, folder.Path), agent))
                (await agency.PostAsync(Seat + "/try", Flight)).Status.ShouldBe(409);
        agent.Calls.ShouldBeEmpty();
    }

    [Fact]
    public async Task A_cancel_whose_try_was_never_answered_reaches_the_handler_without_the_reservation()
    {
        await using var agency = await Agency.OpenAsync();
        agency.Agent.Try = (_, _) => Task.FromException<Seat>(new IOException("The file is locked."));
        (await agency.PostAsync(Seat + "/try", Flight)).Status.ShouldBe(500);
        (await agency.PostAsync(Seat + "/cancel", Untold)).Status.ShouldBe(204);
        (await agency.PostAsync(Seat + "/try", Flight)).Status.ShouldBe(409);
        agency.ShouldHaveCalled("try LH1", "cancel LH1 unknown");
    }

    [Fact]
    public async Task A_confirm_without_its_try_is_an_error()
    {
        await using var agency = await Agency.OpenAsync();
        var confirmed = await agency.PostAsync(Seat + "/confirm", Tried);
        confirmed.Status.ShouldBe(500);
        Problem(confirmed.Body).Code.ShouldBe("not-tried");
    }

    [Fact]
    public async Task A_refusal_is_409_with_its_reason_and_is_remembered()
    {
        await using var agency = await Agency.OpenAsync();
        agency.Agent.Try = (_, _) => Task.FromException<Seat>(new RefusedException("sold-out", "Flight LH1 is sold out."));
        for (var i = 0; i < 2; i++)
        {
            var refused = await agency.PostAsync(Seat + "/try", Flight);
            refused.Status.ShouldBe(409);
            Problem(refused.Body).ShouldBe(("sold-out", "Flight LH1 is sold out."));
        }
        agency.ShouldHaveCalled("try LH1");
    }

    [Fact]
    public async Task A_refusal_in_doubt_says_so_in_a_header()
    {
        await using var agency = await Agency.OpenAsync();
        agency.Agent.Try = (_, _) => Task.FromException<Seat>(new TimeoutException("The database is slow."));
        using (var error = await agency.SendAsync(Seat + "/try", Flight)) error.Headers.Contains("Saga-In-Doubt").ShouldBeFalse();
        agency.Agent.Try = (_, _) => Task.FromException<Seat>(new RefusedException("sold-out", "Flight LH1 is sold out."));
        using var refused = await agency.SendAsync(Seat + "/try", Flight);
        refused.StatusCode.ShouldBe(HttpStatusCode.Conflict);
        refused.Headers.GetValues("Saga-In-Doubt").ShouldBe(["true"]);
    }

    [Theory, InlineData(1.2, "2"), InlineData(90.0, "90"), InlineData(null, null)]
    public async Task Busy_is_503_and_says_when_to_ask_again_if_the_handler_does(double? seconds, string? retryAfter)
    {
        await using var agency = await Agency.OpenAsync();
        agency.Agent.Do = _ => throw new BusyException(seconds is { } after ? TimeSpan.FromSeconds(after) : null);
        using var busy = await agency.SendAsync(Hold, """{"amount":7}""", "money");
        busy.StatusCode.ShouldBe(HttpStatusCode.ServiceUnavailable);
        busy.Headers.RetryAfter?.ToString().ShouldBe(retryAfter);
        agency.Agent.Do = _ => Task.FromResult(new Hold("h2"));
        (await agency.PostAsync(Hold, """{"amount":7}""", "money")).ShouldBe((200, """{"id":"h2"}"""));
    }

    [Fact]
    public async Task An_error_is_500_with_its_message_and_without_a_stack_trace()
    {
        await using var agency = await Agency.OpenAsync();
        agency.Agent.Do = _ => throw new TimeoutException("The ledger does not answer.");
        var failed = await agency.PostAsync(Hold, """{"amount":7}""", "money");
        failed.Status.ShouldBe(500);
        Problem(failed.Body).ShouldBe(("TimeoutException", "The ledger does not answer."));
        failed.Body.ShouldNotContain("   at ");
    }

    [Fact]
    public async Task What_is_missing_is_listed()
    {
        await using var agency = await Agency.OpenAsync();
        using var bare = new HttpRequestMessage(HttpMethod.Post, Seat + "/try") { Content = new StringContent(Flight, Encoding.UTF8, "application/json") };
        using var answer = await agency.Http.SendAsync(bare);
        answer.StatusCode.ShouldBe(HttpStatusCode.BadRequest);
        var (code, detail) = Problem(await answer.Content.ReadAsStringAsync());
        code.ShouldBe("bad-headers");
        foreach (var name in new[] { "Saga-Id", "Saga-Step", "Saga-Phase" }) detail.ShouldContain($"Header {name} is missing");
        agency.ShouldHaveCalled();
    }

    [Theory]
    [InlineData("Saga-Phase", "confirm", "Saga-Phase is 'confirm'")]
    [InlineData("Saga-Id", "a/b", "Saga-Id is 'a/b'")]
    [InlineData("Saga-Step", "no step", "Saga-Step is 'no step'")]
    [InlineData("Saga-Attempt", "0", "Saga-Attempt is '0'")]
    [InlineData("Idempotency-Key", "other", "these headers make it 's1/seat/try'")]
    public async Task A_header_that_does_not_fit_is_400_and_says_what_would(string name, string value, string says)
    {
        await using var agency = await Agency.OpenAsync();
        var answer = await agency.PostAsync(Seat + "/try", Flight, headers: [(name, value)]);
        answer.Status.ShouldBe(400);
        Problem(answer.Body).Detail.ShouldContain(says);
        agency.ShouldHaveCalled();
    }

    [Theory]
    [InlineData(Seat + "/try", "", "empty")]
    [InlineData(Seat + "/try", "{", "not JSON, at line 1")]
    [InlineData(Seat + "/confirm", "null", "no object")]
    [InlineData(Seat + "/cancel", """{"result":1}""", "no 'command'")]
    [InlineData(Release, "[]", "no object")]
    [InlineData(Hold, """{"amount":"much"}""", "$.amount")]
    public async Task A_body_that_does_not_fit_is_400(string path, string body, string says)
    {
        await using var agency = await Agency.OpenAsync();
        var answer = await agency.PostAsync(path, body, path == Hold ? "money" : "seat");
        answer.Status.ShouldBe(400, answer.Body);
        Problem(answer.Body).Detail.ShouldContain(says);
    }

    [Theory]
    [InlineData(Hold, 256 * 1024, true)]
    [InlineData(Hold, 256 * 1024, false)]
    [InlineData(Seat + "/cancel", 512 * 1024 + 64, true)]
    public async Task A_body_over_the_limit_is_413(string path, int limit, bool declared)
    {
        await using var agency = await Agency.OpenAsync();
        var bytes = Encoding.UTF8.GetBytes($"\"{new string('x', limit)}\"");
        HttpContent content = declared ? new ByteArrayContent(bytes) : new StreamContent(new Unseekable(bytes));
        content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        using var request = Agency.Request(path, content);
        using var answer = await agency.Http.SendAsync(request);
        ((int)answer.StatusCode).ShouldBe(413);
    }

    [Fact]
    public async Task What_is_not_there_is_said_with_what_is()
    {
        await using var agency = await Agency.OpenAsync();
        var unknown = await agency.PostAsync("/agency/reserve-car/try", "{}");
        unknown.Status.ShouldBe(404);
        Problem(unknown.Body).Detail.ShouldContain("POST to /agency/reserve-seat/try, /agency/reserve-seat/confirm, /agency/reserve-seat/cancel, /agency/hold-money");
        (await agency.PostAsync("/agency/reserve-seat/do", "{}")).Status.ShouldBe(404);
        using var got = await agency.Http.GetAsync(Hold);
        got.StatusCode.ShouldBe(HttpStatusCode.MethodNotAllowed);
        got.Content.Headers.Allow.ShouldContain("POST");
        using var text = Agency.Request(Hold, new StringContent("7"));
        ((int)(await agency.Http.SendAsync(text)).StatusCode).ShouldBe(415);
    }

    [Fact]
    public async Task A_check_changes_nothing_and_is_asked_each_time()
    {
        await using var agency = await Agency.OpenAsync();
        (await agency.PostAsync("/agency/can-hold/check", """{"amount":7}""")).ShouldBe((200, "true"));
        (await agency.PostAsync("/agency/can-hold/check", """{"amount":700}""")).ShouldBe((200, "false"));
    }

    [Fact]
    public async Task A_compensating_command_is_read_from_command_and_result_together()
    {
        await using var agency = await Agency.OpenAsync();
        await agency.PostAsync(Hold, """{"amount":7}""", "money");
        (await agency.PostAsync(Release, """{"command":{"amount":7},"result":{"id":"h1"}}""", "money")).Status.ShouldBe(204);
        (await agency.PostAsync(Release, """{"command":{"amount":7},"result":{"id":"h1"}}""", "money")).Status.ShouldBe(204);
        agency.ShouldHaveCalled("hold 7", "release h1");
    }

    [Fact]
    public async Task A_result_that_the_engine_missed_comes_from_the_barrier()
    {
        await using var agency = await Agency.OpenAsync();
        await agency.PostAsync(Hold, """{"amount":7}""", "money");
        (await agency.PostAsync(Release, """{"command":{"amount":7},"result":null}""", "money")).Status.ShouldBe(204);
        agency.ShouldHaveCalled("hold 7", "release h1");
    }

    [Fact]
    public async Task A_compensating_command_with_members_for_both_gets_both()
    {
        var returns = new Returns();
        await using var agency = await Agency.OpenAsync(p => p.Add<Returns>("shop"), services: s => s.AddSingleton(returns));
        await agency.PostAsync("/shop/buy", """{"what":"tea"}""", "buy");
        (await agency.PostAsync("/shop/send-back/compensate", """{"command":{"what":"tea"},"result":null}""", "buy")).Status.ShouldBe(204);
        returns.Back.ShouldBe(new SendBack(new Buy("tea"), new Bought("receipt of tea")));
    }

    [Fact]
    public async Task The_bus_and_HTTP_share_the_barrier()
    {
        await using var agency = await Agency.OpenAsync();
        var heard = new TaskCompletionSource<ReplyItem>();
        var item = new CommandItem("s1", "seat", Phase.Try, 1, "reserve-seat", "s1/seat/try", Payload.Parse(Flight), DateTimeOffset.UtcNow.AddMinutes(1), "replies", null);
        await agency.Host.AcceptAsync("agency", new CommandBatch([item]), (_, batch, _) => { heard.SetResult(batch.Items[0]); return Task.CompletedTask; });
        (await heard.Task).Outcome.ShouldBe(Outcome.Ok);
        (await agency.PostAsync(Seat + "/try", Flight)).ShouldBe((200, """{"id":"12A"}"""));
        agency.ShouldHaveCalled("try LH1");
    }

    [Fact]
    public async Task Two_at_once_share_one_call_and_its_answer()
    {
        await using var agency = await Agency.OpenAsync();
        var (begun, go) = (new TaskCompletionSource(), new TaskCompletionSource());
        agency.Agent.Try = async (_, _) => { begun.SetResult(); await go.Task; return new Seat("12A"); };
        var first = agency.PostAsync(Seat + "/try", Flight);
        await begun.Task;
        var second = agency.PostAsync(Seat + "/try", Flight);
        go.SetResult();
        (await first).ShouldBe((200, """{"id":"12A"}"""));
        (await second).ShouldBe((200, """{"id":"12A"}"""));
        agency.ShouldHaveCalled("try LH1");
    }

    [Fact]
    public async Task When_the_engine_hangs_up_the_handlers_time_is_over()
    {
        await using var agency = await Agency.OpenAsync();
        var (begun, over) = (new TaskCompletionSource(), new TaskCompletionSource());
        agency.Agent.Try = async (_, cancel) =>
        {
            using var heard = cancel.Register(over.SetResult);
            begun.SetResult();
            await over.Task;
            throw new OperationCanceledException(cancel);
        };
        using var hangUp = new CancellationTokenSource();
        var request = agency.Http.SendAsync(Agency.Request(Seat + "/try", new StringContent(Flight, Encoding.UTF8, "application/json")), hangUp.Token);
        await begun.Task;
        await hangUp.CancelAsync();
        await over.Task;
        await Should.ThrowAsync<OperationCanceledException>(request);
        agency.Agent.Try = (_, _) => Task.FromResult(new Seat("12A"));
        // One that meets the first run's end shares its error, and asks again.
        int status;
        do status = (await agency.PostAsync(Seat + "/try", Flight)).Status;
        while (status == 500);
        status.ShouldBe(200);
    }

    [Fact]
    public async Task A_host_without_participants_says_so()
    {
        await using var app = WebApplication.CreateSlimBuilder().Build();
        Should.Throw<InvalidOperationException>(() => app.MapSagaParticipants()).Message.ShouldContain("AddSagaParticipants");
    }

    private static void Remember(ParticipantsBuilder participants, string? folder)
    {
        if (folder is not null) participants.UseFileBarrier(folder);
    }

    private static (string Code, string Detail) Problem(string json)
    {
        using var document = JsonDocument.Parse(json);
        return (document.RootElement.GetProperty("code").GetString()!, document.RootElement.GetProperty("detail").GetString()!);
    }

    public sealed record Buy(string What) : ICommand<Buy, Bought>;

    public sealed record Bought(string Receipt);

    public sealed record SendBack(Buy Command, Bought? Result) : ICommand<SendBack>;

    private sealed class Returns : IStepHandler<Buy, Bought>, IStepHandler<SendBack>
    {
        public SendBack? Back { get; private set; }

        public Task<Bought> HandleAsync(Buy command, CommandContext context, CancellationToken cancel) => Task.FromResult(new Bought("receipt of " + command.What));

        public Task HandleAsync(SendBack command, CommandContext context, CancellationToken cancel)
        {
            Back = command;
            return Task.CompletedTask;
        }
    }

    private sealed class Unseekable(byte[] bytes) : MemoryStream(bytes)
    {
        public override bool CanSeek => false;
    }

    private sealed class TemporaryFolder : IDisposable
    {
        public string Path { get; } = Directory.CreateTempSubdirectory("agency-").FullName;

        public void Dispose() => Directory.Delete(Path, recursive: true);
    }

    /// <summary>The participant "agency" on a loopback port.</summary>
    private sealed class Agency : IAsyncDisposable
    {
        private readonly WebApplication _app;

        private Agency(WebApplication app, Agent agent) => (_app, Agent) = (app, agent);

        public Agent Agent { get; }
        public ParticipantHost Host => _app.Services.GetRequiredService<ParticipantHost>();
        public HttpClient Http { get; private set; } = null!;

        public static async Task<Agency> OpenAsync(Action<ParticipantsBuilder>? configure = null, Agent? agent = null, Action<IServiceCollection>? services = null)
        {
            var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
            builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
            builder.Services.AddRoutingCore().AddSingleton(agent ??= new Agent());
            services?.Invoke(builder.Services);
            builder.Services.AddSagaParticipants(p =>
            {
                p.Add<Agent>("agency");
                configure?.Invoke(p);
            });
            var agency = new Agency(builder.Build(), agent);
            agency._app.MapSagaParticipants();
            await agency._app.StartAsync();
            agency.Http = new HttpClient { BaseAddress = new Uri(agency._app.Urls.First()) };
            return agency;
        }

        public async Task<(int Status, string Body)> PostAsync(string path, string body, string step = "seat", params (string Name, string Value)[] headers)
        {
            using var answer = await SendAsync(path, body, step, headers);
            return ((int)answer.StatusCode, await answer.Content.ReadAsStringAsync());
        }

        public Task<HttpResponseMessage> SendAsync(string path, string body, string step = "seat", params (string Name, string Value)[] headers) =>
            Http.SendAsync(Request(path, new StringContent(body, Encoding.UTF8, "application/json"), step, headers));

        public static HttpRequestMessage Request(string path, HttpContent content, string step = "seat", params (string Name, string Value)[] headers)
        {
            var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = content };
            var last = path[(path.LastIndexOf('/') + 1)..];
            (string Name, string Value)[] all = [("Saga-Id", "s1"), ("Saga-Step", step), ("Saga-Phase", last is "hold-money" or "buy" ? "do" : last), .. headers];
            foreach (var (name, value) in all)
            {
                request.Headers.Remove(name);
                request.Headers.TryAddWithoutValidation(name, value);
            }
            return request;
        }

        public void ShouldHaveCalled(params string[] calls) => Agent.Calls.ShouldBe(calls);

        public async ValueTask DisposeAsync()
        {
            Http.Dispose();
            await _app.StopAsync();
            await _app.DisposeAsync();
        }
    }
}
