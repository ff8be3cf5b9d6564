using Sagas.AspNetCore;
using Sagas.MassTransit;
using Sagas.Participants;
using Sagas.Runtime;
using Trip;

var builder = WebApplication.CreateBuilder([.. args.Where(a => a != "--audit")]);
var data = builder.Configuration["data"] ?? Path.Combine("data", "trip");
builder.Logging.SetMinimumLevel(LogLevel.Error);    // the endings below fail on purpose; yours should be heard

// The participants: here in the engine's own process, in yours wherever they live.
builder.Services.AddSingleton(new DataFolder(data));
builder.Services.AddSagaParticipants(p => p
    .Add<Seats>("seats")
    .Add<Rooms>("rooms")
    .Add<Money>("money")
    .Add<Tickets>("tickets")
    .UseFileBarrier(Path.Combine(data, "barrier")));

// The engine: its definitions, where it keeps sagas, and how it reaches the participants.
builder.Services.AddSagas(s => s
    .AddSaga<BookTrip>()
    .UseJournal(Path.Combine(data, "sagas"))
    .UseInMemoryBus()
    .Configure(o => o.StuckAfter = 4));     // default 10: here a stuck trip should be seen soon

builder.WebHost.UseUrls(builder.Configuration["urls"] ?? "http://127.0.0.1:5080");
var app = builder.Build();
app.MapSagas();     // the API, its documentation and health
app.MapGet("/audit", (DataFolder folder, ISagaStore sagas, CancellationToken cancel) => Audit.TakeAsync(folder, sagas, cancel));

return args.Contains("--audit")
    ? await Demo.AuditAsync(app.Services)
    : await Demo.RunAsync(app, app.Configuration.GetValue("traffic", 0));
