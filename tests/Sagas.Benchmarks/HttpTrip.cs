using System.Diagnostics;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Logging;
using Sagas.AspNetCore;
using Sagas.Runtime;

namespace Sagas.Benchmarks;

/// <summary>The same trip as another team would run it: a definition in JSON, started over REST with <c>wait</c>, whose steps are URLs of a process of its own.</summary>
internal sealed class HttpTrip : IAsyncDisposable
{
    private static readonly byte[] Input = """{"traveller":"Ada Lovelace"}"""u8.ToArray();
    private readonly Process _participant;
    private readonly WebApplication _app;
    private readonly HttpMessageInvoker _client = new(new SocketsHttpHandler { UseCookies = false, UseProxy = false, ActivityHeadersPropagator = null });
    private readonly Uri _participants, _start;
    private readonly byte[] _wanted;

    private HttpTrip(Process participant, Uri participants, WebApplication app, string wanted) =>
        (_participant, _participants, _app, _wanted, _start) = (participant, participants, app, Encoding.UTF8.GetBytes($"\"status\":\"{wanted}\""), new Uri(app.Urls.First() + "/api/v1/definitions/book-trip/sagas?wait=60"));

    public static async Task<HttpTrip> OpenAsync(Options options, string path)
    {
        var participant = Process.Start(new ProcessStartInfo("node", [Path.Combine(AppContext.BaseDirectory, "participant.mjs")]) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        var participants = new Uri($"http://127.0.0.1:{await participant.StandardOutput.ReadLineAsync()}/");
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Services.AddSagas(s =>
        {
            if (options.Store == "journal") s.UseJournal(Path.Combine(path, "journal"));
            else s.UseMemoryStore();
            if (options.Workers is { } workers) s.Configure(o => o.Workers = workers);
        });
        var app = builder.Build();
        app.MapSagas();
        await app.StartAsync();
        using var http = new HttpClient();
        using var put = await http.PutAsync(new Uri(app.Urls.First() + "/api/v1/definitions/book-trip"), Json(Definition(options, participants)));
        put.EnsureSuccessStatusCode();
        return new HttpTrip(participant, participants, app, options.Mode == "ok" ? "Completed" : "Compensated");
    }

    /// <summary>One saga, from its start to its end; whether it ended as it should.</summary>
    public async Task<bool> RunOneAsync()
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, _start) { Content = Json(Input) };
        using var answer = await _client.SendAsync(request, CancellationToken.None);
        return (await answer.Content.ReadAsByteArrayAsync()).AsSpan().IndexOf(_wanted) >= 0;
    }

    /// <summary>How often the participants were asked, by path.</summary>
    public async Task<Dictionary<string, long>> CallsAsync()
    {
        using var http = new HttpClient();
        return JsonSerializer.Deserialize<Dictionary<string, long>>(await http.GetStringAsync(new Uri(_participants, "calls")))!;
    }

    public TimeSpan ParticipantCpu
    {
        get
        {
            _participant.Refresh();
            return _participant.TotalProcessorTime;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
        _participant.StandardInput.Close();
        await _participant.WaitForExitAsync();
        _participant.Dispose();
        _client.Dispose();
    }

    private static ByteArrayContent Json(byte[] utf8) => new(utf8) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } };

    private static byte[] Definition(Options options, Uri at)
    {
        string[] steps = ["flight", "hotel", "car"];
        return JsonSerializer.SerializeToUtf8Bytes(new
        {
            name = "book-trip", version = 1,
            steps = steps.Select((name, i) => new
            {
                name, tcc = new { @try = at + name + (name == "car" && options.Mode == "refuse" ? "/try/refuse" : "/try"), confirm = at + name + "/confirm", cancel = at + name + "/cancel" },
                after = options.Shape == "sequential" ? steps[Math.Max(0, i - 1)..i] : [],
            }),
        });
    }
}
