//! `webmon-check schedule`: a site's next instants.

use anyhow::bail;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use webmon::config::Config;

#[derive(clap::Args)]
pub struct ScheduleArgs {
    /// The site's key
    site: String,
    /// How many instants to print
    #[arg(short = 'n', long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Print one JSON object on each line
    #[arg(long)]
    json: bool,
}

pub fn run(config: &Config, args: &ScheduleArgs) -> anyhow::Result<()> {
    let key = &args.site;
    if config.disabled.iter().any(|site| site.key == *key) {
        bail!("site {key:?} is disabled");
    }
    let Some(site) = config.sites.iter().find(|site| site.key == *key) else {
        bail!("site {key:?} is not in the configuration");
    };
    let zone = TimeZone::get(site.schedule.timezone())?;
    let first = site.schedule.next_after(Timestamp::now());
    for instant in
        std::iter::successors(first, |last| site.schedule.next_after(*last)).take(args.count as usize)
    {
        let local = instant.to_zoned(zone.clone());
        let maintenance = site.maintenance.iter().any(|windows| windows.contains(instant));
        if args.json {
            let line = serde_json::json!({
                "scheduled_at": instant,
                "local": local.strftime("%FT%T%:z").to_string(),
                "timezone": site.schedule.timezone(),
                "maintenance": maintenance,
            });
            println!("{line}");
        } else {
            let note = if maintenance { "  maintenance" } else { "" };
            println!("{instant}  {}{note}", local.strftime("%F %T %a %:z %Z"));
        }
    }
    Ok(())
}
